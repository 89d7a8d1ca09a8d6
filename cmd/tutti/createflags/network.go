package createflags

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

// wish is one --network.
type wish struct {
	name string
	apinetwork.EndpointSettings
}

func (f *Flags) network(_ User, r *apicontainer.CreateRequest) error {
	h := r.HostConfig
	h.NetworkMode = "default"
	var wishes []wish
	for _, text := range f.networks {
		w, err := networkWish(text)
		if err != nil {
			return err
		}
		wishes = append(wishes, w)
	}
	if len(wishes) == 0 {
		wishes = []wish{{name: "default"}}
	}
	h.NetworkMode = apicontainer.NetworkMode(wishes[0].name)
	if err := f.first(&wishes[0], h); err != nil {
		return err
	}
	endpoints := map[string]*apinetwork.EndpointSettings{}
	for _, w := range wishes {
		switch {
		case endpoints[w.name] != nil:
			return fmt.Errorf("network %q is specified multiple times", w.name)
		case len(wishes) > 1 && !apicontainer.NetworkMode(w.name).IsUserDefined():
			return errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		case len(w.Aliases) > 0 && !apicontainer.NetworkMode(w.name).IsUserDefined():
			return errors.New("network-scoped aliases are only supported for user-defined networks")
		}
		endpoints[w.name] = &w.EndpointSettings
	}
	if apicontainer.NetworkMode(wishes[0].name).IsUserDefined() || wishes[0].name == "default" || wishes[0].name == "bridge" {
		r.NetworkingConfig.EndpointsConfig = endpoints
	}
	h.DNSOptions, h.DNSSearch = f.dnsOptions, f.dnsSearch
	for _, text := range f.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--dns\" flag: IP address is not correctly formatted: %s", text, text)
		}
		h.DNS = append(h.DNS, a)
	}
	for _, text := range f.hosts {
		if name, address, ok := strings.Cut(strings.Replace(text, "=", ":", 1), ":"); !ok || name == "" || address == "" {
			return fmt.Errorf("invalid argument %q for \"--add-host\" flag: bad format for add-host: %q", text, text)
		}
		h.ExtraHosts = append(h.ExtraHosts, strings.Replace(text, "=", ":", 1))
	}
	return nil
}

// first gives the first network what flags of their own say, --ip and the others.
func (f *Flags) first(w *wish, h *apicontainer.HostConfig) (err error) {
	if len(w.Aliases) > 0 && len(f.aliases) > 0 {
		return errors.New("conflicting options: cannot specify both --network-alias and per-network alias")
	}
	w.Aliases = append(w.Aliases, f.aliases...)
	h.Links = f.links
	if apicontainer.NetworkMode(w.name).IsUserDefined() {
		w.Links, h.Links = f.links, nil
	}
	ip := w.IPAMConfig
	if ip == nil {
		ip = &apinetwork.EndpointIPAMConfig{}
	}
	for _, a := range []struct {
		flag, text string
		to         *netip.Addr
	}{{"ip", f.ip, &ip.IPv4Address}, {"ip6", f.ip6, &ip.IPv6Address}} {
		if a.text == "" {
			continue
		}
		if a.to.IsValid() {
			return fmt.Errorf("conflicting options: cannot specify both --%s and per-network IP address", a.flag)
		}
		if *a.to, err = netip.ParseAddr(a.text); err != nil || a.to.Is4() != (a.flag == "ip") {
			return fmt.Errorf("invalid argument %q for \"--%s\" flag: it is no such address", a.text, a.flag)
		}
	}
	for _, text := range f.linkLocal {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--link-local-ip\" flag: %w", text, err)
		}
		ip.LinkLocalIPs = append(ip.LinkLocalIPs, a)
	}
	if ip.IPv4Address.IsValid() || ip.IPv6Address.IsValid() || len(ip.LinkLocalIPs) > 0 {
		w.IPAMConfig = ip
	}
	if f.mac == "" {
		return nil
	}
	if len(w.MacAddress) > 0 {
		return errors.New("conflicting options: cannot specify both --mac-address and per-network MAC address")
	}
	w.MacAddress, err = macAddress(f.mac)
	return err
}

func macAddress(text string) (apinetwork.HardwareAddr, error) {
	a, err := net.ParseMAC(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid mac address", text)
	}
	return apinetwork.HardwareAddr(a), nil
}

// networkWish reads --network: a name, or name=NAME,alias=... and so on.
func networkWish(text string) (w wish, err error) {
	if !strings.Contains(text, "=") {
		w.name = text
		return w, nil
	}
	list, err := fieldsOf("network", text)
	if err != nil {
		return w, err
	}
	ip := &apinetwork.EndpointIPAMConfig{}
	for _, fd := range list {
		if !fd.hasValue {
			return w, fmt.Errorf("invalid field %s", fd.key)
		}
		switch value := strings.TrimSpace(fd.value); fd.key {
		case "name":
			w.name = value
		case "alias":
			w.Aliases = append(w.Aliases, value)
		case "ip":
			ip.IPv4Address, err = netip.ParseAddr(value)
		case "ip6":
			ip.IPv6Address, err = netip.ParseAddr(value)
		case "mac-address":
			w.MacAddress, err = macAddress(value)
		case "link-local-ip":
			var a netip.Addr
			a, err = netip.ParseAddr(value)
			ip.LinkLocalIPs = append(ip.LinkLocalIPs, a)
		case "driver-opt":
			key, v, ok := strings.Cut(value, "=")
			if !ok || key == "" {
				return w, errors.New("invalid key value pair format in driver options")
			}
			if w.DriverOpts == nil {
				w.DriverOpts = map[string]string{}
			}
			w.DriverOpts[key] = v
		case "gw-priority":
			w.GwPriority, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("invalid field key %s", fd.key)
		}
		if err != nil {
			return w, fmt.Errorf("invalid argument %q for \"--network\" flag: %w", text, err)
		}
	}
	if ip.IPv4Address.IsValid() || ip.IPv6Address.IsValid() || len(ip.LinkLocalIPs) > 0 {
		w.IPAMConfig = ip
	}
	if w.name == "" {
		return w, errors.New("network name/id is not specified")
	}
	return w, nil
}

// ports reads --publish and --expose.
func (f *Flags) ports(_ User, r *apicontainer.CreateRequest) error {
	r.HostConfig.PublishAllPorts = f.publishAll
	r.Config.ExposedPorts, r.HostConfig.PortBindings = apinetwork.PortSet{}, apinetwork.PortMap{}
	for _, text := range f.publish {
		short, err := publishShort(text)
		if err != nil {
			return err
		}
		mappings, err := nat.ParsePortSpec(short)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"-p, --publish\" flag: %w", text, err)
		}
		for _, m := range mappings {
			p, err := apinetwork.ParsePort(string(m.Port))
			if err != nil {
				return fmt.Errorf("invalid argument %q for \"-p, --publish\" flag: %w", text, err)
			}
			b := apinetwork.PortBinding{HostPort: m.Binding.HostPort}
			if m.Binding.HostIP != "" {
				if b.HostIP, err = netip.ParseAddr(strings.Trim(m.Binding.HostIP, "[]")); err != nil {
					return fmt.Errorf("invalid argument %q for \"-p, --publish\" flag: %w", text, err)
				}
			}
			r.Config.ExposedPorts[p] = struct{}{}
			r.HostConfig.PortBindings[p] = append(r.HostConfig.PortBindings[p], b)
		}
	}
	for _, text := range f.expose {
		all, err := apinetwork.ParsePortRange(text)
		if err != nil {
			return fmt.Errorf("invalid range format for --expose: %w", err)
		}
		for p := range all.All() {
			r.Config.ExposedPorts[p] = struct{}{}
		}
	}
	return nil
}

// publishShort is the short form of published=...,target=...
func publishShort(text string) (string, error) {
	if !strings.Contains(text, "=") {
		return text, nil
	}
	m := map[string]string{"protocol": "tcp"}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || key == "" {
			return "", fmt.Errorf("invalid publish opts format (should be name=value but got '%s')", part)
		}
		m[key] = value
	}
	return m["published"] + ":" + m["target"] + "/" + m["protocol"], nil
}
