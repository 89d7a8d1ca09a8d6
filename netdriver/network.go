package netdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"tutti/netdriver/ipam"
	"tutti/netdriver/portmap"
)

// network is a network and the addresses of its subnets.
type network struct {
	Network
	opt     options
	index   atomic.Int32 // of the interface on the host, once it is made
	pools   []*ipam.Pool
	links   int                      // containers on it, and links on their way out
	gone    chan struct{}            // not nil: being removed; closed when done
	leaving map[string]chan struct{} // addresses and links on their way out; closed when they are free
}

// CreateNetwork makes the network and returns it with everything chosen. A network that
// exists is returned as it is. The rules are in force when it returns.
func (d *Driver) CreateNetwork(ctx context.Context, spec NetworkSpec) (Network, error) {
	n, created, err := d.AddNetwork(ctx, spec)
	if err != nil {
		return n, err
	}
	if err := d.Settle(ctx); err != nil {
		err = fmt.Errorf("network %s: %w", spec.Name, err)
		if created {
			err = errors.Join(err, d.RemoveNetwork(ctx, n.ID))
		}
		return Network{}, err
	}
	return n, nil
}

// AddNetwork is CreateNetwork for who makes several networks, and what is on them, together: the rules are in force after
// [Driver.Settle].
func (d *Driver) AddNetwork(ctx context.Context, spec NetworkSpec) (made Network, created bool, err error) {
	if err := check(&spec); err != nil {
		return Network{}, false, fmt.Errorf("network %s: %w", spec.Name, err)
	}
	n, created, err := d.ensureNetwork(ctx, spec)
	if err != nil {
		return Network{}, false, fmt.Errorf("network %s: %w", spec.Name, err)
	}
	return n.Network, created, nil
}

// RemoveNetwork forgets the network. The bridge is deleted in the background; its name and
// its subnets stay reserved until that is done. Removing twice is no error; a network that
// containers are attached to is [ErrNetworkInUse].
func (d *Driver) RemoveNetwork(_ context.Context, id string) error {
	d.creating.Lock()
	defer d.creating.Unlock()
	d.mu.Lock()
	n := d.networks[id]
	users := d.users(id)
	d.mu.Unlock()
	switch {
	case n == nil || n.gone != nil:
		return nil
	case len(users) > 0:
		return fmt.Errorf("network %s: %w by %s", n.Name, ErrNetworkInUse, strings.Join(users, ", "))
	}
	if err := os.Remove(d.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	d.discard(n)
	return nil
}

// Networks returns the networks in the order of their names.
func (d *Driver) Networks() []Network {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Network
	for _, n := range d.networks {
		if n.gone == nil {
			all = append(all, n.Network)
		}
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return all
}

// ensureNetwork makes the bridge and remembers the network, or finds that it is there. It
// waits for networks to be gone that are being removed and have its id, its bridge or its addresses.
func (d *Driver) ensureNetwork(ctx context.Context, spec NetworkSpec) (n *network, created bool, err error) {
	for {
		d.creating.Lock()
		gone := d.inTheWay(&spec)
		if gone == nil {
			break
		}
		d.creating.Unlock()
		if err := d.bin.await(ctx, gone); err != nil {
			return nil, false, err
		}
	}
	defer d.creating.Unlock()
	if n = d.lookup(spec.ID); n != nil {
		return n, false, d.ensureInterface(n)
	}
	n, err = d.makeNetwork(spec)
	return n, err == nil, err
}

// makeNetwork makes a network that is not there. d.creating is held.
func (d *Driver) makeNetwork(spec NetworkSpec) (*network, error) {
	unlock, err := d.host.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := d.takenPrefixes()
	if err != nil {
		return nil, err
	}
	n, err := d.resolve(spec, t)
	if err != nil {
		return nil, err
	}
	if err := d.makeInterface(n); err != nil {
		return nil, errors.Join(err, d.undoInterface(n))
	}
	if err := writeJSON(d.file(n.ID), record{Network: n.Network}); err != nil {
		return nil, errors.Join(err, d.undoInterface(n))
	}
	d.mu.Lock()
	d.networks[n.ID] = n
	d.unsettled = d.unsettled || n.Bridged()
	d.mu.Unlock()
	return n, nil
}

// inTheWay returns what tells that a network is gone that is being removed and whose place the specification takes, or nil.
func (d *Driver) inTheWay(spec *NetworkSpec) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if n.gone == nil {
			continue
		}
		overlaps := slices.ContainsFunc(spec.Pools, func(p Pool) bool {
			return slices.ContainsFunc(n.Subnets(), func(s netip.Prefix) bool { return s.Overlaps(p.Subnet) })
		})
		if n.ID == spec.ID || overlaps || n.Bridge != "" && n.Bridge == spec.Options[optionBridge] {
			return n.gone
		}
	}
	return nil
}

// leaving returns the ids of the networks that are being removed.
func (d *Driver) leaving() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, n := range d.networks {
		if n.gone != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (d *Driver) lookup(id string) *network {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.networks[id]
}

// discard hands a network to the reaper.
func (d *Driver) discard(n *network) {
	gone := make(chan struct{})
	d.mu.Lock()
	n.gone = gone
	d.surplus = d.surplus || n.Bridged()
	d.mu.Unlock()
	d.bin.put(waste{networks: []*network{n}, rules: n.Bridged(), done: func() {
		d.mu.Lock()
		delete(d.networks, n.ID)
		d.mu.Unlock()
		close(gone)
	}})
}

// rules returns what the firewall has to know of the network.
func (n *network) rules() portmap.Network {
	return portmap.Network{
		Bridge: n.Bridge, Subnets: n.Subnets(), Internal: n.Internal, Masquerade: n.opt.masquerade, Apart: !n.opt.icc,
		Mode4: n.opt.mode4, Mode6: n.opt.mode6, Source4: n.opt.source4, Source6: n.opt.source6,
	}
}

// users returns the containers that are attached to a network. d.mu is held.
func (d *Driver) users(id string) []string {
	var names []string
	for cid, c := range d.containers {
		for _, e := range c.endpoints {
			if e.NetworkID == id {
				names = append(names, cmp.Or(e.Name, cid))
			}
		}
	}
	slices.Sort(names)
	return names
}
