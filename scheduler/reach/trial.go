package reach

import (
	"context"
	"net/netip"
	"sync"

	"tutti/netdriver/netns"
	"tutti/netdriver/probe"
	"tutti/scheduler/api"
)

// trial tries addresses and ports of one target, all at the same time.
type trial struct {
	k         *Checker
	from      Party
	target    string    // for messages
	container bool      // the target is one
	ns        *netns.NS // where what is sent should arrive, nil for the host's
	elsewhere bool      // or the target is on no namespace of this host
	alone     bool      // it does not leave the namespace
	sockets   []probe.Bound
	known     bool
	ports     []port
	addresses []address
}

// address is an address of the target.
type address struct {
	addr    netip.Addr
	network string
	barrier Barrier
}

func (t *trial) add(a netip.Addr, network string, b Barrier) {
	t.addresses = append(t.addresses, address{a, network, b})
}

// endpoints adds the addresses of a container on the networks that are shared, or all when none is.
func (t *trial) endpoints(a, b Party) {
	for _, shared := range []bool{true, false} {
		for _, e := range b.Endpoints {
			if (a.Host || a.on(e.Network)) != shared {
				continue
			}
			barrier := Open
			switch {
			case !shared:
				barrier = Apart
			case e.NoICC && !a.Host:
				barrier = Isolated
			case a.Host && !e.bridged():
				barrier = Beside
			}
			for _, addr := range e.Addrs {
				t.add(addr, e.Network, barrier)
			}
		}
		if len(t.addresses) > 0 {
			return
		}
	}
}

// run sends the packets and returns what became of them.
func (t *trial) run(ctx context.Context) []api.ReachPath {
	var watch *probe.Watcher
	if !t.alone {
		if w, err := probe.Watch(t.ns, t.elsewhere); err == nil { // without one it is only harder to explain what gets lost
			watch = w
			defer watch.Close()
		}
	}
	paths := make([]api.ReachPath, len(t.addresses)*len(t.ports))
	var wg sync.WaitGroup
	for i, a := range t.addresses {
		for j, p := range t.ports {
			wg.Go(func() { paths[i*len(t.ports)+j] = t.path(ctx, a, p, watch) })
		}
	}
	wg.Wait()
	return paths
}

// path tries one address and port.
func (t *trial) path(ctx context.Context, a address, p port, watch *probe.Watcher) api.ReachPath {
	to := netip.AddrPortFrom(a.addr, p.number)
	o := probe.Send(ctx, probe.Request{From: t.from.NS, Proto: p.proto, To: to, Timeout: t.k.Timeout, Watch: watch})
	path := api.ReachPath{Network: a.network, Address: a.addr, Port: p.number, Proto: p.proto, Source: o.Source}
	if t.container {
		path.Container = t.target
	}
	if o.Seen != nil {
		path.SeenAt = o.Seen.Interface
	}
	path.Reached, path.Reason, path.Detail = Attempt{
		Target: t.target, Proto: p.proto, To: to, Outcome: o, Watched: watch != nil, Beyond: t.elsewhere,
		Sockets: t.sockets, Known: t.known, Barrier: a.barrier, Networks: a.network, Dropper: t.k.Dropper,
	}.Judge()
	if path.Reached {
		path.RTT = o.RTT
	}
	return path
}
