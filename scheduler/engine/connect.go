package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/events"

	"tutti/netdriver"
	"tutti/netdriver/netns"
	"tutti/runtime"
	"tutti/scheduler/container"
)

// How a running container changes its networks, so that an engine which dies in between leaves it on the old ones or on the
// new ones, and with all that follows from them:
//
//	connect:     State.Changing ── link, routes, ports, /etc/hosts ── State with the new networks ── names
//	disconnect:  State with the new networks, Changing ── names ── routes, ports, link, /etc/hosts ── State
//
// The next engine takes the networks of the state for true and makes the rest so, see finishChanges: links that the state
// does not have are removed.

// ConnectNetwork attaches a container to one more network, while it runs too. What the container is then stays with it until
// it is removed, whatever restarts.
func (e *Engine) ConnectNetwork(ctx context.Context, network, name string, a container.Attachment) error {
	n, u, done, err := e.beginChange(ctx, network, name)
	if err != nil {
		return err
	}
	defer done()
	a.Network = n.Name
	if a.Interface == "" {
		a.Interface = a.DriverOpts[netdriver.OptionInterface]
	}
	c := u.Now()
	if err := e.CheckConnect(n, c, a); err != nil {
		return err
	}
	next := append(slices.Clip(c.Networks), a)
	u.wiring.Lock()
	defer u.wiring.Unlock()
	if p := u.Running(); p != nil {
		err = e.connectRunning(ctx, u, p, c, next)
	} else {
		e.NetDriver.Abandon(u.ID)
		_, err = u.updateNow(func(s *container.State) { s.Networks = next })
	}
	if err != nil {
		return fmt.Errorf("connect container %s to network %s: %w", u.Name(), n.Name, err)
	}
	e.networkEvent(n, events.ActionConnect, u.ID)
	return nil
}

// DisconnectNetwork takes a container off a network, while it runs too.
func (e *Engine) DisconnectNetwork(ctx context.Context, network, name string) error {
	n, u, done, err := e.beginChange(ctx, network, name)
	if err != nil {
		return err
	}
	defer done()
	c := u.Now()
	if _, on := c.On(n.Name); !on {
		return fmt.Errorf("%w: container %s is not connected to network %s", ErrForbidden, u.Name(), n.Name)
	}
	next := slices.DeleteFunc(slices.Clone(c.Networks), func(a container.Attachment) bool { return a.Network == n.Name })
	u.wiring.Lock()
	defer u.wiring.Unlock()
	if p := u.Running(); p != nil {
		err = e.disconnectRunning(ctx, u, p, n, next)
	} else {
		e.NetDriver.Abandon(u.ID)
		_, err = u.updateNow(func(s *container.State) { s.Networks = next })
	}
	if err != nil {
		return fmt.Errorf("disconnect container %s from network %s: %w", u.Name(), n.Name, err)
	}
	e.networkEvent(n, events.ActionDisconnect, u.ID)
	return nil
}

// beginChange finds a network and a container, and keeps both from being changed and removed until done is called.
func (e *Engine) beginChange(ctx context.Context, network, name string) (n netdriver.Network, u *Unit, done func(), err error) {
	if n, err = e.Network(network); err != nil {
		return n, nil, nil, err
	}
	unlock, err := e.networkLocks.lock(ctx, n.Name)
	if err != nil {
		return n, nil, nil, err
	}
	if n, err = e.Network(n.ID); err == nil { // removed meanwhile
		u, err = e.FindUnit(name)
	}
	if err != nil {
		unlock()
		return n, nil, nil, err
	}
	u.op.Lock()
	done = func() { u.op.Unlock(); unlock() }
	switch mode := u.Config.NetworkMode; {
	case u.isRemoved():
		err = fmt.Errorf("%w: container %s is marked for removal and cannot be connected to or disconnected from a network", ErrConflict, u.Name())
	case mode == "none":
		err = fmt.Errorf("%w: container %s is in the private network mode none: no network can be connected to it", ErrForbidden, u.Name())
	case mode == "host":
		err = fmt.Errorf("%w: container %s is on the host's network from its creation to its end: no network can be connected to it or disconnected from it", ErrForbidden, u.Name())
	case !u.Config.OwnNetwork():
		err = fmt.Errorf("%w: container %s has the network of %s: connect or disconnect that one", ErrForbidden, u.Name(), mode)
	}
	if err != nil {
		done()
		return n, nil, nil, err
	}
	return n, u, done, nil
}

// CheckConnect finds what is wrong with a wish to connect before anything is changed.
func (e *Engine) CheckConnect(n netdriver.Network, c *container.Config, a container.Attachment) error {
	if _, on := c.On(n.Name); on {
		return fmt.Errorf("%w: endpoint with name %s already exists in network %s", ErrForbidden, c.Name, n.Name)
	}
	s, err := a.Endpoint(c.Name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for _, ip := range []netip.Addr{s.IPv4, s.IPv6} {
		if ip.IsValid() && !slices.ContainsFunc(n.Subnets(), func(p netip.Prefix) bool { return p.Contains(ip) }) {
			return fmt.Errorf("%w: address %s does not belong to any of the subnets %v of network %s", ErrInvalid, ip, n.Subnets(), n.Name)
		}
	}
	for _, l := range a.Links {
		if _, err := e.FindUnit(l.Container); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	return nil
}

// connectRunning brings a running container onto the last of the networks in next. c is how it was; u.op and u.wiring are
// held.
func (e *Engine) connectRunning(ctx context.Context, u *Unit, p *runtime.Container, c *container.Config, next []container.Attachment) (err error) {
	ns, err := netns.Open(p.NetNS())
	if err != nil {
		return fmt.Errorf("%w: it has just ended: %w", ErrConflict, err)
	}
	defer ns.Close()
	wanted := *c
	wanted.Networks = next
	specs, _, err := e.endpointSpecs(&wanted)
	if err != nil {
		return err
	}
	added := specs[len(specs)-1]
	added.DefaultRoute, added.DefaultRoute6 = false, false // moved when all else is there
	added.Interface = next[len(next)-1].Interface          // "": the first that is free
	if err := e.NetDriver.Flush(ctx); err != nil {         // what has been disconnected just now has its interface no more
		return err
	}
	if _, err := u.updateNow(func(s *container.State) { s.Changing = true }); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // from here on to an end, this or that
	_, err = e.NetDriver.Attach(ctx, u.ID, ns, []netdriver.EndpointSpec{added})
	if err == nil {
		err = e.settleNetworks(ctx, u, ns, next)
	}
	if err != nil {
		return errors.Join(err, e.NetDriver.Detach(ctx, u.ID, added.NetworkID), e.settleNetworks(ctx, u, ns, c.Networks))
	}
	return nil
}

// disconnectRunning takes a running container off a network; next are those that remain. u.op and u.wiring are held.
func (e *Engine) disconnectRunning(ctx context.Context, u *Unit, p *runtime.Container, n netdriver.Network, next []container.Attachment) error {
	ns, err := netns.Open(p.NetNS())
	if err != nil {
		return fmt.Errorf("%w: it has just ended: %w", ErrConflict, err)
	}
	defer ns.Close()
	before := u.Now().Networks
	s, err := u.updateNow(func(s *container.State) { s.Networks, s.Changing = next, true })
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	e.names.Set(u.ID, e.nameEntry(u.Now(), slices.DeleteFunc(slices.Clone(s.Endpoints), func(p container.Endpoint) bool { return p.Network == n.Name })))
	if err := e.leadOut(ctx, u, ns, next); err != nil {
		return errors.Join(err, e.settleNetworks(ctx, u, ns, before))
	}
	err = errors.Join(e.NetDriver.Detach(ctx, u.ID, n.ID), e.NetDriver.Flush(ctx))
	return errors.Join(err, e.settleNetworks(ctx, u, ns, next))
}

// settleNetworks makes everything follow from the networks of a running container that is linked to them: its default
// routes and ports, /etc/hosts, its record, the names that others know.
func (e *Engine) settleNetworks(ctx context.Context, u *Unit, ns *netns.NS, networks []container.Attachment) error {
	if err := e.leadOut(ctx, u, ns, networks); err != nil {
		return err
	}
	have, bindings := e.NetDriver.Container(u.ID)
	var endpoints []container.Endpoint
	for _, p := range have {
		if n, err := e.Network(p.NetworkID); err == nil {
			endpoints = append(endpoints, container.Endpoint{Network: n.Name, Endpoint: p})
		}
	}
	c := u.Config.Now(container.State{Networks: networks})
	hosts, err := e.hosts(&c, endpoints)
	if err != nil {
		return err
	}
	if err := e.writeHosts(u, hosts); err != nil {
		return fmt.Errorf("write /etc/hosts: %w", err)
	}
	_, err = u.update(func(s *container.State) {
		s.Networks, s.Changing, s.Endpoints, s.Bindings = networks, false, endpoints, bindings
	})
	if err != nil {
		return err
	}
	e.names.Set(u.ID, e.nameEntry(&c, endpoints))
	return nil
}

// leadOut moves the default routes and the published ports of a running container to where they belong with these networks.
func (e *Engine) leadOut(ctx context.Context, u *Unit, ns *netns.NS, networks []container.Attachment) error {
	four, six := container.Gateways(networks, e.outlook)
	var ids [2]string
	for i, name := range []string{four, six} {
		if name == "" {
			continue
		}
		n, err := e.NetworkByName(name)
		if err != nil {
			return err
		}
		ids[i] = n.ID
	}
	if err := e.NetDriver.Route(ctx, u.ID, ns, ids[0], ids[1]); err != nil {
		return err
	}
	if len(u.Config.Ports) == 0 || four == "" && six == "" {
		return nil
	}
	specs, err := PortSpecs(u.Config.Ports)
	if err == nil {
		_, err = e.NetDriver.Publish(ctx, u.ID, specs)
	}
	return err
}

// finishChanges completes what an engine was doing to the networks of running containers when it died.
func (e *Engine) finishChanges(ctx context.Context, alive []*Unit, processes map[string]*runtime.Container) {
	for _, u := range alive {
		if !u.state.Changing {
			continue
		}
		err := e.finishChange(ctx, u, processes[u.ID])
		if err != nil {
			e.Log.Error("finish the change of the container's networks", "container", u.Name(), "error", err)
		}
	}
}

func (e *Engine) finishChange(ctx context.Context, u *Unit, p *runtime.Container) error {
	ns, err := netns.Open(p.NetNS())
	if err != nil {
		return err
	}
	defer ns.Close()
	return e.settleNetworks(ctx, u, ns, u.Now().Networks)
}

// rememberAddresses tells the driver which addresses those containers had that do not run.
func (e *Engine) rememberAddresses(alive []*Unit) {
	units := e.SelectUnits(func(*container.Config) bool { return true })
	slices.SortFunc(units, func(a, b *Unit) int { return int(a.state.Seq) - int(b.state.Seq) }) //nolint:gosec // counts starts
	for _, u := range units {
		if slices.Contains(alive, u) {
			continue
		}
		var had []netdriver.Endpoint
		for _, p := range u.state.Endpoints {
			had = append(had, p.Endpoint)
		}
		e.NetDriver.Remember(had)
	}
}
