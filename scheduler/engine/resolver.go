package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/dns"
	"tutti/netdriver/netns"
	"tutti/netdriver/portmap"
	"tutti/scheduler/container"
)

// dnsHolder is the name under which the keeper holds the sockets of a container's resolver: while there is no engine,
// queries wait in them.
func dnsHolder(id string) string { return "dns/" + id }

// servesDNS tells whether a container wants port 53 for itself: it exposes or publishes it.
func servesDNS(c *container.Config) bool {
	port := func(p container.Port) bool { return p.Target == dns.Listen.Port() }
	return slices.ContainsFunc(c.Ports, port) || slices.ContainsFunc(c.Exposed, port)
}

// listenDNS opens the resolver's sockets inside a container's namespace. Where the container is a DNS server itself they
// leave the port to it: on another one, to which the resolver's address is redirected; also where somebody has the port
// already, who shares the namespace and was there before a restart.
func (e *Engine) listenDNS(ctx context.Context, ns *netns.NS, c *container.Config) (*net.UDPConn, *net.TCPListener, error) {
	redirected := servesDNS(c)
	udp, tcp, err := listenDNSAt(ctx, ns, redirected)
	if errors.Is(err, unix.EADDRINUSE) && !redirected {
		return listenDNSAt(ctx, ns, true)
	}
	return udp, tcp, err
}

func listenDNSAt(ctx context.Context, ns *netns.NS, redirected bool) (*net.UDPConn, *net.TCPListener, error) {
	at := dns.Listen
	if redirected {
		at = netip.AddrPortFrom(at.Addr(), 0)
	}
	udp, tcp, err := ns.ListenLoopback(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	if redirected {
		if err := portmap.Redirect(ctx, ns, dns.Listen, addrPort(udp.LocalAddr()), addrPort(tcp.Addr())); err != nil {
			return nil, nil, errors.Join(err, udp.Close(), tcp.Close())
		}
	}
	return udp, tcp, nil
}

// moved tells whether the resolver of a running container listens elsewhere than on port 53.
func (e *Engine) moved(u *Unit) bool {
	held, err := e.keeper.Take(dnsHolder(u.ID))
	if err != nil {
		return false
	}
	moved := false
	for _, f := range held {
		if c, err := net.FilePacketConn(f); err == nil {
			moved = addrPort(c.LocalAddr()).Port() != dns.Listen.Port()
			_ = c.Close()
		}
		_ = f.Close()
	}
	return moved
}

// yieldDNS makes room on port 53 for a container that shares the network namespace of another: whether it wants it nobody
// knows, for such a container exposes nothing. The resolver there moves away; what is asked meanwhile finds one or the other.
func (e *Engine) yieldDNS(ctx context.Context, c *container.Config) error {
	owner := c // of the namespace
	var u *Unit
	for strings.Contains(owner.NetworkMode, ":") {
		next, err := e.Peer(owner, owner.NetworkMode)
		if err != nil {
			return err
		}
		u, owner = next, &next.Config
	}
	if u == nil || servesDNS(owner) || len(u.Snapshot().Endpoints) == 0 {
		return nil // it moved away at the start, or there is none
	}
	p := u.Running()
	if p == nil || e.moved(u) {
		return nil
	}
	ns, err := netns.Open(p.NetNS())
	if err != nil {
		return err
	}
	defer ns.Close()
	udp, tcp, err := listenDNSAt(ctx, ns, true)
	if err != nil && !servesDNS(c) {
		return nil //nolint:nilerr // without iptables the resolver stays where it is
	}
	if err == nil {
		err = e.holdDNS(u.ID, udp, tcp)
	}
	if err != nil {
		return fmt.Errorf("leave port 53 of %s to %s: %w", owner.Name, c.Name, err)
	}
	return e.dns.Serve(u.ID, udp, tcp)
}

func addrPort(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String()) // the kernel wrote it
	return p
}

func (e *Engine) holdDNS(id string, udp *net.UDPConn, tcp *net.TCPListener) error {
	u, err := udp.File()
	if err != nil {
		return err
	}
	defer u.Close()
	t, err := tcp.File()
	if err != nil {
		return err
	}
	defer t.Close()
	return e.keeper.Hold(dnsHolder(id), map[string]*os.File{"udp": u, "tcp": t})
}

// takeDNS finds the sockets that an earlier engine opened, or opens new ones in the namespace at path.
func (e *Engine) takeDNS(ctx context.Context, c *container.Config, path string) (*net.UDPConn, *net.TCPListener, error) {
	held, err := e.keeper.Take(dnsHolder(c.ID))
	if err == nil && held["udp"] != nil && held["tcp"] != nil {
		defer held["udp"].Close()
		defer held["tcp"].Close()
		udp, err1 := net.FilePacketConn(held["udp"])
		tcp, err2 := net.FileListener(held["tcp"])
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, err
		}
		return udp.(*net.UDPConn), tcp.(*net.TCPListener), nil
	}
	ns, err := netns.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer ns.Close()
	udp, tcp, err := e.listenDNS(ctx, ns, c)
	if err != nil {
		return nil, nil, err
	}
	return udp, tcp, e.holdDNS(c.ID, udp, tcp)
}

// unresolve takes a container out of the resolver and closes its sockets, which would keep its namespace alive.
func (e *Engine) unresolve(id string) {
	e.dns.Remove(id)
	e.names.Drop(id)
	if err := e.keeper.Release(dnsHolder(id)); err != nil {
		e.Log.Error("release the resolver's sockets", "container", id[:12], "error", err)
	}
}

// dialInside connects to a container's own DNS servers from inside its network namespace.
func (e *Engine) dialInside(ctx context.Context, id, network string, server netip.AddrPort) (net.Conn, error) {
	e.mu.Lock()
	u := e.units[id]
	e.mu.Unlock()
	if u == nil || u.Running() == nil {
		return nil, fmt.Errorf("container %s does not run", id)
	}
	ns, err := netns.Open(u.Running().NetNS())
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return ns.Dial(ctx, network, server)
}
