// Package netdriver makes the networks of tutti: bridges, the links between them and the
// containers, addresses, routes, firewall rules and published ports.
//
// Everything it makes in the kernel is found again by its name, which starts with the
// instance of the engine (4 hex digits from its state root):
//
//	tt<inst><8 hex>   the bridge of a network
//	tv<inst><8 hex>   the host's end of the link of a container to a network
//	TUTTI-<INST>-…    the chains of the firewall, drawn in package portmap
//
// An interface that the user names (a bridge, the VLAN of a parent) is marked as ours by its alias, "tutti <inst> <network>".
//
// Disk remembers networks alone. What containers have is told by the engine in [Driver.Restore];
// links of this instance that nobody claims then are removed.
//
// What is slow in the kernel happens in the background: to delete a link waits for RCU
// grace periods, 30-60 ms. Until it is done the names, subnets and addresses stay reserved.
package netdriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
	"tutti/netdriver/portmap"
	"tutti/netdriver/rtnl"
)

// Errors that callers can tell apart.
var (
	ErrNetworkNotFound = errors.New("network not found")
	ErrNetworkInUse    = errors.New("network is in use")
	ErrInvalid         = errors.New("invalid network option")
	ErrNetworkFull     = errors.New("network is full")
)

// Config is what a [Driver] is made from.
type Config struct {
	StateDir string // what is remembered of networks
	Instance string // 4 lower case hex digits: the engine's, in every name
	HostDir  string // shared by all engines of the host; empty: below /run/tutti-net, by the host's namespace

	// PoolsFile is a JSON file whose default-address-pools are what subnets are chosen from. It need not exist, and it is read
	// whenever a subnet is chosen. Empty: the defaults of package ipam.
	PoolsFile string

	// Host is the namespace that has the bridges, rules and port sockets. Nil is the process's own.
	Host *netns.NS
	// Keeper holds the sockets of published ports while the engine is away. Nil: nobody does.
	Keeper SocketKeeper
	// RelayProgram opens the program that relays connections which the firewall's rules do not take, see
	// [tutti/netdriver/portmap/relay].
	RelayProgram func() (*os.File, error)
	// SystemBus is the D-Bus address where firewalld may be found. Empty: the system's.
	SystemBus string
	// Log gets notices and what fails in the background. Nil is slog's default.
	Log *slog.Logger
}

// SocketKeeper holds files beyond the life of this process; the keeper's client is one.
type SocketKeeper interface {
	// Hold adds duplicates of the named files to those held under id. It must not make them
	// block, as [os.File.Fd] does: the mode is that of all duplicates, ours too.
	Hold(id string, files map[string]*os.File) error
	// Take returns duplicates of the files held under id, none if there are none.
	Take(id string) (map[string]*os.File, error)
	// Release closes the files held under id. Releasing twice is no error.
	Release(id string) error
	// Sync waits until what was released is closed.
	Sync() error
}

// Driver owns the networks of one engine. Its methods may be called concurrently.
type Driver struct {
	cfg    Config
	log    *slog.Logger
	route  *netlink.Handle // rtnetlink in the host's namespace
	socket *rtnl.Socket    // the same, for what every container needs
	host   *hostState
	life   context.Context //nolint:containedctx // of everything in the background, ended by Close
	end    context.CancelFunc

	firewall *portmap.Firewall
	relay    *portmap.Relay
	zones    *portmap.Firewalld
	guard    guard
	rules    *syncer // brings what is wanted into the firewall
	bin      *reaper

	creating sync.Mutex // serialises creation and removal of networks
	wiring   sync.Mutex // one link at a time: RTNL is one lock for the whole host

	mu         sync.Mutex // guards what follows, never held across system calls
	networks   map[string]*network
	containers map[string]*container
	parked     map[string]*portmap.Socket        // of ports that are being unpublished, by name
	closing    map[*portmap.Socket]chan struct{} // those that nobody can take over any more, until they are closed
	unsettled  bool                              // the firewall has to change in a way that no round of the syncer covers
	surplus    bool                              // the same, but it only lets through what it need not any more
	round      *round                            // the last one that was asked for
}

// container is what a container has of the driver.
type container struct {
	endpoints []*endpoint
	bindings  []*binding
	openings  []PortBinding // ports that are published at the container's own address, without a port of the host
	ns        *netns.NS     // where its links are, held, so that they outlive it: who connects meanwhile is refused
	dwelling  uint64        // the inode of ns
	vacant    bool          // it has ended, and what it had is kept for the next run
}

var instancePattern = regexp.MustCompile(`^[0-9a-f]{4}$`)

// New returns a driver that remembers the networks in c.StateDir. Until [Driver.Restore] it
// changes nothing in the kernel. [Driver.Close] ends it; that the context ends does not, since
// what is to be cleaned up then has to be.
func New(ctx context.Context, c Config) (*Driver, error) {
	if !instancePattern.MatchString(c.Instance) {
		return nil, fmt.Errorf("instance %q is not four lower case hex digits", c.Instance)
	}
	if c.HostDir == "" {
		inode, err := c.Host.Inode()
		if err != nil {
			return nil, err
		}
		c.HostDir = fmt.Sprintf("/run/tutti-net/%d", inode)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	for _, dir := range []string{c.HostDir, filepath.Join(c.StateDir, "networks")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	d := &Driver{cfg: c, log: c.Log, networks: map[string]*network{}, containers: map[string]*container{}, parked: map[string]*portmap.Socket{}, closing: map[*portmap.Socket]chan struct{}{}}
	d.life, d.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := d.load(); err != nil {
		return nil, err
	}
	var err error
	if d.route, d.socket, err = openRoute(c.Host); err != nil {
		return nil, err
	}
	d.host = &hostState{ns: c.Host, dir: c.HostDir}
	d.firewall = portmap.NewFirewall(c.Host, c.Instance, c.Log)
	d.relay = portmap.NewRelay(portmap.RelayConfig{Host: c.Host, Program: c.RelayProgram, Keep: d.keepRelay, Release: d.releaseRelay, Log: c.Log})
	d.zones = portmap.NewFirewalld(c.SystemBus, c.Log, func() { d.rules.request() })
	d.rules = startSyncer(d.life, func() { d.firewall.Available() }, d.applyRules)
	if d.bin, err = startReaper(d.life, d); err != nil {
		d.rules.stop()
		d.socket.Close()
		d.route.Close()
		return nil, err
	}
	return d, nil
}

// Flush waits until everything that was begun in the background is done.
func (d *Driver) Flush(ctx context.Context) error { return d.bin.flush(ctx) }

// Close waits for the work in the background and ends it. Networks stay as they are, with
// their containers, for the next driver of this instance.
func (d *Driver) Close(ctx context.Context) error {
	err := errors.Join(d.Flush(ctx), d.saveMemories())
	d.bin.stop()
	d.rules.stop()
	err = errors.Join(err, d.closePorts())
	d.closeNamespaces()
	d.end()
	d.guard.work.Wait()
	d.zones.Close()
	d.socket.Close()
	d.route.Close()
	return err
}

// closeNamespaces lets go of the namespaces of all containers: those that run hold them themselves.
func (d *Driver) closeNamespaces() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.containers {
		c.ns.Close()
		c.ns = nil
	}
}

// openRoute opens rtnetlink in a namespace.
func openRoute(ns *netns.NS) (*netlink.Handle, *rtnl.Socket, error) {
	route, err := openHandle(ns)
	if err != nil {
		return nil, nil, err
	}
	socket, err := rtnl.Open(ns)
	if err != nil {
		route.Close()
		return nil, nil, err
	}
	return route, socket, nil
}

// openHandle opens rtnetlink in a namespace for package netlink.
func openHandle(ns *netns.NS) (route *netlink.Handle, err error) {
	err = ns.Do(func() (err error) {
		route, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return route, nil
}
