package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tutti/dns"
	"tutti/scheduler/container"
	"tutti/scheduler/layout"
	"tutti/scheduler/names"
)

// filesDir holds what is written for one run of a container: its files of /etc, configs and secrets. It lies in the run
// folder, on a tmpfs by default, and goes when the container has ended.
func (e *Engine) filesDir(id string) string { return filepath.Join(e.Paths.Files(), id) }

// writeFiles writes the container's hosts, hostname and resolv.conf. One that shares another's network shares its files.
func (s *starter) writeFiles(context.Context) error {
	c := &s.u.Config
	dir := s.e.filesDir(s.u.ID)
	s.onUndo(func(context.Context) error { return os.RemoveAll(dir) })
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if strings.Contains(c.NetworkMode, ":") {
		peer, err := s.e.Peer(c, c.NetworkMode)
		if err != nil {
			return err
		}
		for _, name := range []string{layout.HostsFile, layout.HostnameFile, layout.ResolvFile} {
			b, err := os.ReadFile(filepath.Join(s.e.filesDir(peer.ID), name))
			if err != nil {
				return err
			}
			if err := writeEtc(filepath.Join(dir, name), b); err != nil {
				return err
			}
		}
		return nil
	}
	hosts, err := s.e.hosts(s.u.Now(), s.endpoints)
	if err != nil {
		return err
	}
	resolv, err := s.e.resolvConf(c, s.ns == nil)
	if err != nil {
		return err
	}
	return errors.Join(
		s.e.writeHosts(s.u, hosts),
		writeEtc(filepath.Join(dir, layout.HostnameFile), []byte(c.Hostname+"\n")),
		writeEtc(filepath.Join(dir, layout.ResolvFile), resolv),
	)
}

// writeEtc writes in place: a file that is bound into a running container must stay the same file. It is written with one
// call and cut to its length afterwards: nobody who reads it meanwhile finds it empty.
func writeEtc(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // every user in the container reads it
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	return errors.Join(err, f.Close())
}

// hosts is the /etc/hosts of a container with these endpoints, as docker writes it.
func (e *Engine) hosts(c *container.Config, endpoints []container.Endpoint) ([]byte, error) {
	var b strings.Builder
	if c.NetworkMode == "host" {
		own, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		b.Write(own)
	} else {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	}
	for _, h := range c.ExtraHosts {
		name, addr, _ := strings.Cut(h, "=")
		if addr == "host-gateway" {
			if addr = e.hostGateway(c, endpoints); addr == "" {
				e.Log.Warn("host-gateway: the container is on no network where the host has an address", "container", c.Name, "name", name)
				continue
			}
		}
		if _, err := netip.ParseAddr(addr); err != nil {
			return nil, fmt.Errorf("extra_hosts %s: %q is no address", name, addr)
		}
		fmt.Fprintf(&b, "%s\t%s\n", addr, name)
	}
	for _, p := range endpoints {
		for _, a := range p.Addresses() {
			fmt.Fprintf(&b, "%s\t%s\n", a, c.HostsNames())
		}
	}
	return []byte(b.String()), nil
}

// inOrder sorts endpoints so that the first one counts where a name is known on several networks.
func (e *Engine) inOrder(c *container.Config, endpoints []container.Endpoint) []container.Endpoint {
	place := map[string]int{}
	for i, a := range container.Order(c.Networks, e.outlook) {
		place[a.Network] = i
	}
	return slices.SortedFunc(slices.Values(endpoints), func(a, b container.Endpoint) int { return place[a.Network] - place[b.Network] })
}

// hostGateway is the address by which the container reaches the host: on the bridge that its default route leads to, or
// else on another one, an internal network's at last. "" when it is on none.
func (e *Engine) hostGateway(c *container.Config, endpoints []container.Endpoint) string {
	if !c.OwnNetwork() {
		return "127.0.0.1"
	}
	gateway, best := "", 0
	for _, p := range endpoints {
		n, err := e.NetworkByName(p.Network)
		if err != nil {
			continue
		}
		preference := 1
		if !n.Internal {
			preference = 2
		}
		if p.DefaultRoute {
			preference = 3
		}
		if a := n.HostAddress(); a.IsValid() && preference > best { // else its gateway is another machine
			gateway, best = a.String(), preference
		}
	}
	return gateway
}

// resolvConf is the container's /etc/resolv.conf.
func (e *Engine) resolvConf(c *container.Config, hostNetwork bool) ([]byte, error) {
	spec := dns.ResolvConfSpec{Host: e.Upstreams.Config(), Search: c.DNSSearch, Options: c.DNSOptions, HostNetwork: hostNetwork || !c.OwnNetwork()}
	servers, err := dnsServers(c)
	if err != nil {
		return nil, err
	}
	spec.Servers = servers
	b, _ := dns.ResolvConf(spec)
	return b, nil
}

func dnsServers(c *container.Config) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, d := range c.DNS {
		a, err := netip.ParseAddr(d)
		if err != nil {
			return nil, fmt.Errorf("dns: %q is no address", d)
		}
		all = append(all, a)
	}
	return all, nil
}

// nameEntry is what the resolver has to know of a container.
func (e *Engine) nameEntry(c *container.Config, endpoints []container.Endpoint) names.Entry {
	n := names.Entry{Config: c, Endpoints: e.inOrder(c, endpoints), Ports: names.ServedPorts(c), Internal: true}
	for _, p := range endpoints {
		if !e.isInternal(p.Network) {
			n.Internal = false
		}
	}
	servers, _ := dnsServers(c) // checked when resolv.conf was written
	n.Upstreams = dns.ClientUpstreams(servers)
	_, n.LocalSingle = dns.ResolvConf(dns.ResolvConfSpec{Host: e.Upstreams.Config(), Search: c.DNSSearch, Options: c.DNSOptions})
	return n
}
