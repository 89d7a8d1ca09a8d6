package netdriver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"tutti/netdriver/ipam"
	"tutti/netdriver/portmap"
)

// network is a network and the addresses of its subnets.
type network struct {
	Network
	index   atomic.Int32 // of the bridge, once it is made
	pools   []*ipam.Pool
	gone    chan struct{}            // not nil: being removed; closed when done
	leaving map[string]chan struct{} // addresses and links on their way out; closed when they are free
}

// record is what the file of a network holds.
type record struct {
	Network
	Memory map[string]netip.Addr `json:"memory,omitempty"` // container name → its last address
}

// Options of a network, named as Docker names them.
const (
	optionMTU        = "com.docker.network.driver.mtu"
	optionMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{8,}$`)

// CreateNetwork makes the network and returns it with everything chosen. A network that
// exists is returned as it is. The rules are in force when it returns.
func (d *Driver) CreateNetwork(ctx context.Context, spec NetworkSpec) (Network, error) {
	if err := check(&spec); err != nil {
		return Network{}, fmt.Errorf("network %s: %w", spec.Name, err)
	}
	n, created, err := d.ensureNetwork(ctx, spec)
	if err != nil {
		return Network{}, fmt.Errorf("network %s: %w", spec.Name, err)
	}
	if err := d.rules.sync(ctx); err != nil {
		if created {
			d.discard(n)
		}
		return Network{}, fmt.Errorf("network %s: %w", spec.Name, err)
	}
	return n.Network, nil
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

// ensureNetwork makes the bridge and remembers the network, or finds that it is there.
func (d *Driver) ensureNetwork(ctx context.Context, spec NetworkSpec) (n *network, created bool, err error) {
	if err := d.awaitRemoval(ctx, spec.ID); err != nil {
		return nil, false, err
	}
	d.creating.Lock()
	defer d.creating.Unlock()
	d.mu.Lock()
	n = d.networks[spec.ID]
	d.mu.Unlock()
	if n != nil && n.gone == nil {
		return n, false, d.ensureBridge(n)
	}
	unlock, err := d.host.lock()
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if n, err = d.resolve(spec); err != nil {
		return nil, false, err
	}
	d.mu.Lock()
	for _, other := range d.networks {
		if other.Bridge == n.Bridge {
			d.mu.Unlock()
			return nil, false, fmt.Errorf("%w: id %s begins like that of network %s", ErrInvalid, n.ID, other.Name)
		}
	}
	d.mu.Unlock()
	if err := d.makeBridge(n); err != nil {
		return nil, false, err
	}
	if err := writeJSON(d.file(n.ID), record{Network: n.Network}); err != nil {
		return nil, false, errors.Join(err, d.deleteLink(n.Bridge))
	}
	d.mu.Lock()
	d.networks[n.ID] = n
	d.mu.Unlock()
	return n, true, nil
}

// awaitRemoval waits until a network that is being removed is gone.
func (d *Driver) awaitRemoval(ctx context.Context, id string) error {
	d.mu.Lock()
	n := d.networks[id]
	var gone chan struct{}
	if n != nil {
		gone = n.gone
	}
	d.mu.Unlock()
	if gone == nil {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// discard hands a network to the reaper.
func (d *Driver) discard(n *network) {
	gone := make(chan struct{})
	d.mu.Lock()
	n.gone = gone
	d.mu.Unlock()
	d.bin.put(waste{links: []string{n.Bridge}, rules: true, done: func() {
		d.mu.Lock()
		delete(d.networks, n.ID)
		d.mu.Unlock()
		close(gone)
	}})
}

// check validates what does not depend on the host.
func check(s *NetworkSpec) error {
	if s.Driver == "" {
		s.Driver = "bridge"
	}
	if s.Driver != "bridge" {
		return fmt.Errorf("%w: driver %q is not supported, use bridge", ErrInvalid, s.Driver)
	}
	if !idPattern.MatchString(s.ID) {
		return fmt.Errorf("%w: id %q is not lower case hex of at least 8 digits", ErrInvalid, s.ID)
	}
	for key, value := range s.Options {
		switch key {
		case optionMTU:
			mtu, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("%w: %s: %q is no number", ErrInvalid, key, value)
			}
			s.MTU = mtu
		case optionMasquerade:
			if _, err := strconv.ParseBool(value); err != nil {
				return fmt.Errorf("%w: %s: %q is neither true nor false", ErrInvalid, key, value)
			}
		default:
			return fmt.Errorf("%w: driver option %s is not supported", ErrInvalid, key)
		}
	}
	if s.MTU != 0 && (s.MTU < 68 || s.MTU > 65535) {
		return fmt.Errorf("%w: an MTU of %d is not possible", ErrInvalid, s.MTU)
	}
	for i, p := range s.Subnets {
		s.Subnets[i] = p.Masked()
		if p.Addr().Is6() {
			s.EnableIPv6 = true
		}
	}
	if len(s.Subnets) > 2 || len(s.Subnets) == 2 && s.Subnets[0].Addr().Is4() == s.Subnets[1].Addr().Is4() {
		return fmt.Errorf("%w: more than one subnet of a family: %v", ErrInvalid, s.Subnets)
	}
	return nil
}

// resolve chooses what the specification leaves open. The host's lock is held.
func (d *Driver) resolve(spec NetworkSpec) (*network, error) {
	taken, err := d.takenPrefixes()
	if err != nil {
		return nil, err
	}
	four, six := families(spec.Subnets)
	if spec.Subnets, err = chosenSubnets(spec, four, six, d.cfg.Instance, taken); err != nil {
		return nil, err
	}
	if spec.MTU == 0 {
		spec.MTU = d.uplinkMTU()
	}
	n, err := newNetwork(Network{NetworkSpec: spec, Bridge: d.bridgeName(spec.ID)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return n, nil
}

// chosenSubnets returns the wanted subnets, checked, and the missing ones, chosen.
func chosenSubnets(spec NetworkSpec, four, six netip.Prefix, seed string, t taken) (subnets []netip.Prefix, err error) {
	for _, p := range spec.Subnets {
		if owner, used := t.usedBy(p); used {
			return nil, fmt.Errorf("%w: subnet %s overlaps %s: choose another in ipam.config.subnet", ErrInvalid, p, owner)
		}
	}
	if !four.IsValid() {
		if four, err = ipam.Subnet(t.all()); err != nil {
			return nil, err
		}
	}
	subnets = append(subnets, four)
	if spec.EnableIPv6 && !six.IsValid() {
		if six, err = ipam.Subnet6(seed, t.all()); err != nil {
			return nil, err
		}
	}
	if six.IsValid() {
		subnets = append(subnets, six)
	}
	return subnets, nil
}

// families returns the IPv4 and the IPv6 subnet, zero where there is none.
func families(subnets []netip.Prefix) (four, six netip.Prefix) {
	for _, p := range subnets {
		if p.Addr().Is4() {
			four = p
		} else {
			six = p
		}
	}
	return four, six
}

// newNetwork makes the pools of a network whose subnets are chosen, and enters the gateways.
func newNetwork(resolved Network) (*network, error) {
	n := &network{Network: resolved, leaving: map[string]chan struct{}{}}
	for _, subnet := range n.Subnets {
		c := ipam.Config{Subnet: subnet, Gateway: n.Gateway6}
		if subnet.Addr().Is4() {
			c.Gateway, c.Range = n.Gateway, n.IPRange
		}
		for _, a := range n.AuxAddresses {
			if a.Is4() == subnet.Addr().Is4() {
				c.Aux = append(c.Aux, a)
			}
		}
		p, err := ipam.NewPool(c)
		if err != nil {
			return nil, err
		}
		if subnet.Addr().Is4() {
			n.Gateway = p.Gateway()
		} else {
			n.Gateway6 = p.Gateway()
		}
		n.pools = append(n.pools, p)
	}
	return n, nil
}

// rules returns what the firewall has to know of the network.
func (n *network) rules() portmap.Network {
	masquerade, err := strconv.ParseBool(n.Options[optionMasquerade])
	return portmap.Network{
		Bridge: n.Bridge, Subnets: n.Subnets, Internal: n.Internal, Masquerade: masquerade || err != nil,
	}
}

func (d *Driver) bridgeName(id string) string { return "tt" + d.cfg.Instance + id[:8] }

func (d *Driver) file(id string) string {
	return filepath.Join(d.cfg.StateDir, "networks", id+".json")
}

// load reads the networks that were remembered.
func (d *Driver) load() error {
	files, err := filepath.Glob(d.file("*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("read %s: %w", f, err)
		}
		n, err := newNetwork(r.Network)
		if err != nil {
			return fmt.Errorf("read %s: %w", f, err)
		}
		for _, p := range n.pools {
			p.Remember(r.Memory)
		}
		d.networks[n.ID] = n
	}
	return nil
}

// saveMemories writes down which container had which address last.
func (d *Driver) saveMemories() error {
	d.mu.Lock()
	var records []record
	for _, n := range d.networks {
		if n.gone == nil {
			records = append(records, record{n.Network, n.memory()})
		}
	}
	d.mu.Unlock()
	var errs []error
	for _, r := range records {
		errs = append(errs, writeJSON(d.file(r.ID), r))
	}
	return errors.Join(errs...)
}

// memory returns the last IPv4 addresses; IPv6 follows the same order by itself.
func (n *network) memory() map[string]netip.Addr {
	for _, p := range n.pools {
		if p.Subnet().Addr().Is4() {
			return p.Memory()
		}
	}
	return nil
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
