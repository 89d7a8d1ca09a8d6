package netdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Fault is a difference between what the driver knows and what the kernel has.
type Fault struct {
	Object  string // a link, or "firewall"
	Problem string
	Remedy  string // what Repair does
	Hint    string // what is left to do after it; may be empty
	Repair  func(context.Context) error
}

// OtherBackend is [portmap.Firewall.OtherBackend].
func (d *Driver) OtherBackend(ctx context.Context) (string, error) {
	return d.firewall.OtherBackend(ctx)
}

// Check compares links and firewall rules of this instance with what the driver knows. It changes nothing. What is being
// made or removed just then can look like a fault: look twice.
func (d *Driver) Check(ctx context.Context) ([]Fault, error) {
	if err := d.bin.flush(ctx); err != nil {
		return nil, err
	}
	left, err := d.unclaimed()
	if err != nil {
		return nil, err
	}
	var faults []Fault
	for _, name := range left {
		faults = append(faults, Fault{Object: name, Problem: "network link that nobody knows", Remedy: "remove it", Repair: func(context.Context) error {
			return d.bin.deleteLinks([]string{name})
		}})
	}
	links, err := d.links()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	networks := make([]*network, 0, len(d.networks))
	for _, n := range d.networks {
		if n.gone == nil && n.Bridge != "" && !slices.ContainsFunc(links, func(l hostLink) bool { return l.name == n.Bridge }) {
			networks = append(networks, n)
		}
	}
	d.mu.Unlock()
	for _, n := range networks {
		faults = append(faults, Fault{
			Object: n.Bridge, Problem: "interface of network " + n.Name + " is missing", Remedy: "make it again",
			Hint:   "restart the containers of network " + n.Name,
			Repair: func(context.Context) error { return d.ensureInterface(n) },
		})
	}
	return d.checkRules(ctx, faults)
}

// checkRules adds the firewall, if it is not as it should be.
func (d *Driver) checkRules(ctx context.Context, faults []Fault) ([]Fault, error) {
	lines, err := d.firewall.Differs(ctx, d.wantedRules())
	if err != nil {
		return faults, err
	}
	if len(lines) > 0 {
		faults = append(faults, Fault{
			Object: "firewall", Problem: fmt.Sprintf("rules are missing or nobody's, %d lines differ, the first is %q", len(lines), lines[0]), Remedy: "set the rules again",
			Repair: func(ctx context.Context) error {
				return errors.Join(d.rules.sync(ctx), d.bin.flush(ctx))
			},
		})
	}
	return faults, nil
}
