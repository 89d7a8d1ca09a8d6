package netdriver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"tutti/netdriver/netns"
)

// Restore brings the kernel in line with what is remembered, after the engine was away:
// live containers keep their endpoints and ports, bridges that are missing are made again,
// and links of this instance that nobody claims are removed in the background. The rules are
// set again only where they differ. Call it once, before anything else.
func (d *Driver) Restore(ctx context.Context, live map[string][]Endpoint, ports map[string][]PortBinding) error {
	var errs []error
	for id, endpoints := range live {
		for _, e := range endpoints {
			if err := d.claim(id, e); err != nil {
				errs = append(errs, fmt.Errorf("container %s: %w", id, err))
			}
		}
	}
	d.mu.Lock()
	networks := make([]*network, 0, len(d.networks))
	for _, n := range d.networks {
		networks = append(networks, n)
	}
	d.mu.Unlock()
	for _, n := range networks {
		if err := d.ensureInterface(n); err != nil {
			// Whoever attaches to it gets the error. The others shall work.
			d.log.Error("make the bridge of a network again", "network", n.Name, "error", err)
		}
	}
	if err := d.restoreRelay(); err != nil {
		errs = append(errs, err)
	}
	for id, bindings := range ports {
		if err := d.restorePorts(id, bindings); err != nil {
			errs = append(errs, fmt.Errorf("container %s: %w", id, err))
		}
	}
	errs = append(errs, d.stopRelay())
	d.mu.Lock()
	d.unsettled = true // nobody knows what is in force
	d.mu.Unlock()
	if len(networks) > 0 {
		errs = append(errs, d.Settle(ctx))
	}
	return errors.Join(append(errs, d.sweep(len(networks) == 0 && d.host.touched()))...)
}

// claim enters an endpoint that a live container has.
func (d *Driver) claim(containerID string, has Endpoint) error {
	n := d.lookup(has.NetworkID)
	if n == nil {
		return fmt.Errorf("%w: %s", ErrNetworkNotFound, has.NetworkID)
	}
	e := &endpoint{Endpoint: has, network: n, key: d.linkName(containerID, n.ID), link: link{host: has.HostInterface, name: has.Interface}}
	var ns *netns.NS
	if has.Namespace != "" {
		var err error
		if ns, err = netns.Open(has.Namespace); err != nil { // then the link goes with it
			d.log.Warn("the namespace of a container is not found", "container", containerID, "error", err)
		} else if e.link.at, err = ns.Inode(); err != nil {
			ns.Close()
			return err
		}
	}
	if !n.Bridged() {
		e.ns, ns = ns, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range n.pools {
		for _, a := range []netip.Addr{has.IPv4.Addr(), has.IPv6.Addr()} {
			if !p.Subnet().Contains(a) {
				continue
			}
			if err := p.Take(a, has.Name); err != nil {
				return err
			}
		}
	}
	c := d.containers[containerID]
	if c == nil {
		c = &container{}
		d.containers[containerID] = c
	}
	if c.ns == nil {
		c.ns, ns = ns, nil
	}
	ns.Close()
	n.links++
	c.endpoints = append(c.endpoints, e)
	return nil
}

// sweep hands links of this instance that nobody claims to the reaper, together with the rules: the last one puts the host
// back, and must find no rule of ours. killed is for an engine that was killed while it cleaned up: there may be rules alone.
func (d *Driver) sweep(killed bool) error {
	left, err := d.unclaimed()
	if err == nil && (len(left) > 0 || killed) {
		d.bin.put(waste{links: left, rules: true})
	}
	return err
}

// unclaimed are the links of this instance that belong to no network and to no container.
func (d *Driver) unclaimed() ([]string, error) {
	claimed := map[string]bool{}
	d.mu.Lock()
	for _, n := range d.networks {
		claimed[n.Bridge] = true
	}
	for _, c := range d.containers {
		for _, e := range c.endpoints {
			claimed[e.HostInterface], claimed[e.link.host] = true, true
		}
	}
	d.mu.Unlock()
	links, err := d.links()
	if err != nil {
		return nil, err
	}
	var left []string
	for _, l := range links {
		if l.isOf(d.cfg.Instance) && !claimed[l.name] {
			left = append(left, l.name)
		}
	}
	return left, nil
}
