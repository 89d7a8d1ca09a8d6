package netdriver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"tutti/netdriver/ipam"
	"tutti/netdriver/netns"
)

// endpoint is an endpoint and its network.
type endpoint struct {
	Endpoint
	network *network
	sysctls []interfaceSysctl
	key     string    // of what nobody else can have until it is gone; the name of HostInterface, if there is one
	ns      *netns.NS // where the link is, if there is no HostInterface
	link    link
}

// link is the link of an endpoint, if it has one yet.
type link struct {
	at   uint64 // the inode of the namespace it is in
	host string // its end on the host, if it has any
	name string // in the namespace
}

// Attach links the container whose namespace is given to networks, brings its loopback
// interface up and sets addresses and routes. A network the container is attached to already
// is left as it is. If one fails none is attached. Without any specification the container
// has its loopback interface alone.
func (d *Driver) Attach(ctx context.Context, containerID string, ns *netns.NS, specs []EndpointSpec) ([]Endpoint, error) {
	in, err := d.enter(ns)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := d.leaveOthers(ctx, containerID, in.inode); err != nil {
		return nil, fmt.Errorf("remove the links of an earlier run: %w", err)
	}
	result, made, err := d.attach(ctx, containerID, in, specs)
	if err == nil {
		err = d.dwell(containerID, in)
	}
	if err != nil {
		d.remove(containerID, func(e *endpoint) bool { return slices.Contains(made, e) })
		return nil, err
	}
	return result, nil
}

// attach does what Attach does but for undoing it; made are the endpoints that it has made links for, also when it fails.
func (d *Driver) attach(ctx context.Context, containerID string, in *inside, specs []EndpointSpec) (result []Endpoint, made []*endpoint, err error) {
	specs, wanted := complete(specs)
	for _, spec := range specs {
		e, err := d.reserve(ctx, containerID, spec, wanted)
		if err == nil && e.link == (link{}) {
			made = append(made, e)
			err = d.wire(e, in)
		}
		if err != nil {
			return nil, made, fmt.Errorf("attach %s to network %s: %w", spec.Name, d.nameOf(spec.NetworkID), err)
		}
		result = append(result, e.Endpoint)
	}
	for _, e := range made {
		if err := d.await(ctx, e, in); err != nil {
			return nil, made, err
		}
	}
	return result, made, nil
}

// complete enters in the specifications of a container's endpoints where IPv6's default route leads if none says so, and
// returns the names of interfaces that are asked for.
func complete(specs []EndpointSpec) (all []EndpointSpec, wanted []string) {
	split := slices.ContainsFunc(specs, func(s EndpointSpec) bool { return s.DefaultRoute6 })
	for _, spec := range specs {
		spec.DefaultRoute6 = spec.DefaultRoute6 || spec.DefaultRoute && !split
		all, wanted = append(all, spec), append(wanted, spec.interfaceName())
	}
	return all, wanted
}

// Detach takes the container off the given networks, or off all of them if none is given,
// with the ports that lead to it there. It returns at once; links, rules and port sockets go
// in the background, and the addresses stay reserved until they are gone. Detaching what is
// not attached is no error.
func (d *Driver) Detach(_ context.Context, containerID string, networkIDs ...string) error {
	d.remove(containerID, func(e *endpoint) bool {
		return len(networkIDs) == 0 || slices.Contains(networkIDs, e.NetworkID)
	})
	return nil
}

// remove forgets the endpoints of a container that which selects and hands what they are
// made of to the reaper.
func (d *Driver) remove(containerID string, which func(*endpoint) bool) {
	d.mu.Lock()
	c := d.containers[containerID]
	if c == nil {
		d.mu.Unlock()
		return
	}
	var links []string
	var children []childLink
	var going []*endpoint
	c.endpoints = slices.DeleteFunc(c.endpoints, func(e *endpoint) bool {
		if !which(e) {
			return false
		}
		gone := make(chan struct{})
		for _, name := range e.names() {
			e.network.leaving[name] = gone
		}
		going = append(going, e)
		if host, child := e.unlink(); child != nil {
			children = append(children, *child)
		} else if host != "" {
			links = append(links, host)
		}
		return true
	})
	ports := d.dropBindings(c, func(b *binding) bool {
		return slices.ContainsFunc(going, func(e *endpoint) bool { return e.has(b.ContainerIP) })
	})
	opened := len(c.openings)
	c.openings = slices.DeleteFunc(c.openings, func(b PortBinding) bool {
		return slices.ContainsFunc(going, func(e *endpoint) bool { return e.has(b.ContainerIP) })
	})
	opened -= len(c.openings)
	d.surplus = d.surplus || len(ports) > 0 || opened > 0
	var ns *netns.NS // until its links are gone, so that whoever connects is refused
	if len(c.endpoints) == 0 && len(c.bindings) == 0 {
		delete(d.containers, containerID)
		ns, c.ns = c.ns, nil
	}
	d.mu.Unlock()
	if len(going) == 0 && ns == nil {
		return
	}
	d.keepOnly(containerID, ports)
	w := waste{links: links, children: children, rules: len(ports) > 0 || opened > 0, done: func() {
		d.closeBindings(ports)
		d.release(going)
		ns.Close()
	}}
	if !w.rules && len(links)+len(children) == 0 {
		w.done() // there never was more of it than the intention
		return
	}
	d.bin.put(w)
}

// unlink forgets the endpoint's link and returns what has to be removed: the host's end, or the link in a container's
// namespace. d.mu is held.
func (e *endpoint) unlink() (host string, child *childLink) {
	if host = e.link.host; host == "" && e.ns != nil {
		child = &childLink{e.ns, e.link.name}
		e.ns = nil
	}
	e.link = link{}
	return host, child
}

// release gives the names and addresses of endpoints that are gone back.
func (d *Driver) release(gone []*endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range gone {
		for _, p := range e.network.pools {
			p.Release(e.IPv4.Addr())
			p.Release(e.IPv6.Addr())
		}
		e.network.links--
		close(e.network.leaving[e.key])
		for _, name := range e.names() {
			delete(e.network.leaving, name)
		}
	}
}

// names returns everything of the endpoint that nobody else can have meanwhile.
func (e *endpoint) names() []string {
	names := []string{e.key}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			names = append(names, p.Addr().String())
		}
	}
	return names
}

func (e *endpoint) has(a netip.Addr) bool {
	return a.IsValid() && (a == e.IPv4.Addr() || a == e.IPv6.Addr())
}

// reserve enters the endpoint of a container in a network, with addresses and names chosen,
// or returns the one there is. It waits for what the same container had there before to be
// gone.
func (d *Driver) reserve(ctx context.Context, containerID string, spec EndpointSpec, wanted []string) (*endpoint, error) {
	for {
		d.mu.Lock()
		e, leaving, err := d.tryReserve(containerID, spec, wanted)
		d.mu.Unlock()
		if leaving == nil {
			return e, err
		}
		if err := d.bin.await(ctx, leaving); err != nil {
			return nil, err
		}
	}
}

// tryReserve does what reserve does, or returns what it has to wait for. d.mu is held.
func (d *Driver) tryReserve(containerID string, spec EndpointSpec, wanted []string) (e *endpoint, leaving chan struct{}, err error) {
	n := d.networks[spec.NetworkID]
	if n == nil || n.gone != nil {
		return nil, nil, ErrNetworkNotFound
	}
	if err := CheckEndpoint(spec); err != nil {
		return nil, nil, err
	}
	c := d.containers[containerID]
	if c == nil {
		c = &container{}
	}
	for _, e := range c.endpoints {
		if e.NetworkID == n.ID {
			return e, nil, nil
		}
	}
	e = &endpoint{network: n, Endpoint: Endpoint{NetworkID: n.ID, ContainerID: containerID}, key: d.linkName(containerID, n.ID)}
	if n.Bridged() {
		e.HostInterface = e.key
	}
	leaving, err = n.admits(e.key, spec)
	if leaving != nil || err != nil {
		return nil, leaving, err
	}
	if err := n.chooseAddresses(e, spec); err != nil {
		return nil, nil, d.withOwner(err, spec)
	}
	n.links++
	c.describe(e, spec, wanted)
	c.endpoints = append(c.endpoints, e)
	d.containers[containerID] = c
	return e, nil, nil
}

// describe enters in an endpoint that has its addresses all the rest of a specification, which is checked.
func (c *container) describe(e *endpoint, spec EndpointSpec, wanted []string) {
	n := e.network
	e.Name, e.Interface = spec.Name, c.freeInterface(spec.interfaceName(), n.opt.prefix, wanted)
	e.DefaultRoute, e.DefaultRoute6 = spec.DefaultRoute && !n.Internal, spec.DefaultRoute6 && !n.Internal
	e.LinkLocal = linkLocal(spec.LinkLocal)
	e.sysctls, _ = spec.sysctls()
	switch e.MAC = spec.MAC; {
	case e.MAC != nil:
	case e.IPv4.IsValid():
		e.MAC = macOf(e.IPv4.Addr())
	default:
		e.MAC = macFrom(spec.Name + "/" + n.ID)
	}
}

// admits tells why the endpoint can never be made, or returns the sign of what has to be gone before it can.
func (n *network) admits(key string, spec EndpointSpec) (leaving chan struct{}, err error) {
	if len(spec.MAC) > 0 && (n.Driver == driverIPvlan || n.opt.mode == "passthru") {
		return nil, fmt.Errorf("%w: mac_address: with %s containers have the address of the parent", ErrInvalid, n.Driver)
	}
	names := []string{key, spec.IPv4.String(), spec.IPv6.String()}
	for _, p := range n.pools {
		if a, ok := p.Last(spec.Name); ok {
			names = append(names, a.String())
		}
	}
	for _, name := range names {
		if gone := n.leaving[name]; gone != nil {
			return gone, nil
		}
	}
	if n.links < n.maxLinks() {
		return nil, nil
	}
	for _, gone := range n.leaving { // there will be room
		return gone, nil
	}
	return nil, n.full()
}

// maxLinks is how many containers the network can have.
func (n *network) maxLinks() int {
	switch {
	case n.Bridged():
		return maxPorts
	case n.opt.mode == "passthru":
		return 1
	default:
		return math.MaxInt
	}
}

// Capacity is how many containers a network can have at once.
func Capacity(s NetworkSpec) int {
	s.Driver = cmp.Or(s.Driver, driverBridge)
	o, _ := parseOptions(&s) // what is wrong with them is for others to say
	return (&network{Network: Network{NetworkSpec: s}, opt: o}).maxLinks()
}

func (n *network) full() error {
	if n.Bridged() {
		return fmt.Errorf("%w: a Linux bridge connects %d containers at most; use a second network", ErrNetworkFull, maxPorts)
	}
	return fmt.Errorf("%w: passthru gives the parent %s to one container", ErrNetworkFull, n.Bridge)
}

// withOwner adds to an [ipam.ErrTaken] which container has the address.
func (d *Driver) withOwner(err error, spec EndpointSpec) error {
	if !errors.Is(err, ipam.ErrTaken) {
		return err
	}
	for id, c := range d.containers {
		for _, e := range c.endpoints {
			if e.NetworkID == spec.NetworkID && (e.has(spec.IPv4) || e.has(spec.IPv6)) {
				return fmt.Errorf("%w by container %s", err, cmp.Or(e.Name, id))
			}
		}
	}
	return err
}

// freeInterface returns the wanted name or the first of the prefix, eth by default, that the container neither has nor gets
// by wish.
func (c *container) freeInterface(wish, prefix string, wanted []string) string {
	name := wish
	for i := 0; name == ""; i++ {
		name = fmt.Sprint(cmp.Or(prefix, "eth"), i)
		if slices.Contains(wanted, name) || slices.ContainsFunc(c.endpoints, func(e *endpoint) bool { return e.Interface == name }) {
			name = ""
		}
	}
	return name
}

// linkName returns the name of the host's end of a link.
func (d *Driver) linkName(containerID, networkID string) string {
	sum := sha256.Sum256([]byte(containerID + "/" + networkID))
	return "tv" + d.cfg.Instance + hex.EncodeToString(sum[:4])
}

// nameOf returns the name of a network for messages.
func (d *Driver) nameOf(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.networks[id]; n != nil {
		return n.Name
	}
	return id
}
