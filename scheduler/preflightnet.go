package scheduler

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tutti/netdriver"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/netcheck"
	"tutti/scheduler/plan"
)

// checkNetworks finds whether the networks that a plan makes could be made, and returns who stays where.
func (r *run) checkNetworks(p *plan.Plan, freed map[string]bool) (*netcheck.Book, error) {
	var specs []netdriver.NetworkSpec
	var keys, leaving []string
	networks := r.knownNetworks()
	for _, op := range p.Ops {
		switch op.Kind { //nolint:exhaustive // the others are about no network
		case plan.RemoveNetwork:
			leaving = append(leaving, op.ResourceID)
		case plan.CreateNetwork:
			spec, err := engine.NetworkSpec(r.project.Networks[op.Key])
			if err != nil {
				return nil, r.atNetwork(err, op.Key)
			}
			spec.ID = r.s.NetworkID(spec.Name)
			specs, keys = append(specs, spec), append(keys, op.Key)
			networks[spec.Name] = netcheck.Network{NetworkSpec: netdriver.WithGateways(spec), New: true}
			for _, key := range netdriver.UnknownOptions(networks[spec.Name].Driver, spec.Options) {
				w := container.At(fmt.Errorf("network %s: `%s` has no effect: the driver %s does not know it", spec.Name, key, networks[spec.Name].Driver), "driver_opts", key)
				r.emit(api.Event{Kind: api.KindWarning, Text: r.atNetwork(w, op.Key).Error()})
			}
		}
	}
	if at, err := r.s.NetDriver.CheckNetworks(specs, leaving); err != nil {
		return nil, r.atNetwork(engine.NetworkFault(specs[at].Name, err), keys[at])
	}
	book := netcheck.New(networks)
	for _, u := range r.s.SelectUnits(func(*container.Config) bool { return true }) {
		if u.Stopped() {
			continue
		}
		for _, e := range u.Snapshot().Endpoints {
			switch n := networks[e.Network]; {
			case n.New || slices.Contains(leaving, n.ID):
			case freed[u.ID]:
				book.Leaves(u.ID, u.Name(), e)
			default:
				book.Stays(u.Name(), e.Network, address(e.IPv4), address(e.IPv6))
			}
		}
	}
	return book, nil
}

// knownNetworks are the networks that there are, by their full names.
func (r *run) knownNetworks() map[string]netcheck.Network {
	networks := map[string]netcheck.Network{}
	for _, n := range r.s.Networks() {
		networks[n.Name] = netcheck.Network{NetworkSpec: n.NetworkSpec}
	}
	return networks
}

func address(p netip.Prefix) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	return p.Addr()
}

// joins enters the networks of a container that is started, or says which of them it cannot be on.
func (r *run) joins(book *netcheck.Book, op plan.Op, c *container.Config, wanted hostPorts) error {
	for _, a := range c.Networks {
		err := book.Joins(op.Container, a)
		if fault, ok := errors.AsType[*container.Fault](err); ok {
			return r.at(&container.Fault{Key: append([]string{"networks", r.networkKey(a.Network)}, fault.Key[2:]...), Err: fault.Err}, op.Service)
		}
		addrs, hardware := book.Owners(op.Container, a)
		wanted.own(op.Container, addrs...)
		wanted.own(op.Container, hardware...)
		if len(addrs) > 0 {
			r.claim(op.Container, a, addrs)
		}
	}
	return nil
}

// claim keeps the addresses of an attachment for the container of a name. Those that have them do not pass them on to their
// own successors, nor does anybody else get them meanwhile.
func (r *run) claim(name string, a container.Attachment, owners []string) {
	for _, id := range owners {
		r.losers[id] = true
	}
	e := netdriver.Endpoint{NetworkID: r.s.NetworkID(a.Network), Name: name}
	if addr, err := netip.ParseAddr(a.IPv4); err == nil {
		e.IPv4 = netip.PrefixFrom(addr, addr.BitLen())
	}
	if addr, err := netip.ParseAddr(a.IPv6); err == nil {
		e.IPv6 = netip.PrefixFrom(addr, addr.BitLen())
	}
	r.s.NetDriver.Remember([]netdriver.Endpoint{e})
}

// networkKey is what the project calls a network.
func (r *run) networkKey(name string) string {
	for key, n := range r.project.Networks {
		if n.Name == name {
			return key
		}
	}
	return name
}

// atNetwork says in which file and line the network is, or the key of it that an error is about.
func (r *run) atNetwork(err error, key string) error {
	path := []string{"networks", key}
	if fault, ok := errors.AsType[*container.Fault](err); ok {
		path, err = append(path, fault.Key...), fault.Err
	}
	if users := r.project.NetworkUsers(key); users != "" {
		err = fmt.Errorf("%w (%s)", err, users)
	}
	file, line := r.project.Position(path...)
	if line == 0 {
		return err
	}
	return fmt.Errorf("%s:%d: %w", file, line, err)
}
