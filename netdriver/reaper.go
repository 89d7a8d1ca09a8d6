package netdriver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tutti/netdriver/rtnl"
)

// waste is something to be removed in the background.
type waste struct {
	links    []string    // deleted
	children []childLink // deleted
	networks []*network  // whose interfaces are deleted, or given back
	rules    bool        // what the driver wants of the firewall no longer contains it: see to that
	urgent   bool        // somebody waits for it: not to be held back
	done     func()      // called last, also when something failed
}

// reaper removes waste. Deleting a link waits for RCU grace periods, however many links go
// with it: whatever has gathered is deleted together.
type reaper struct {
	d      *Driver
	route  *netlink.Handle // its own: a deletion would keep the wiring waiting
	socket *rtnl.Socket
	kick   chan struct{}
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	queue   []waste
	pending int           // queued or at work
	idle    chan struct{} // closed while nothing is pending
	holds   int           // of those who want everything to go together
	waiters int           // of those who cannot wait for that
}

func startReaper(ctx context.Context, d *Driver) (*reaper, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &reaper{d: d, kick: make(chan struct{}, 1), cancel: cancel, ended: make(chan struct{}), idle: make(chan struct{})}
	close(r.idle)
	var err error
	if r.route, r.socket, err = openRoute(d.cfg.Host); err != nil {
		cancel()
		return nil, err
	}
	go r.run(ctx)
	return r, nil
}

func (r *reaper) put(w waste) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending++; r.pending == 1 {
		r.idle = make(chan struct{})
	}
	r.queue = append(r.queue, w)
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// hold keeps back what is not urgent, so that it goes together, until release is called or somebody waits for it.
func (r *reaper) hold() (release func()) { return r.count(&r.holds) }

// hurry lets nothing be held back until done is called.
func (r *reaper) hurry() (done func()) { return r.count(&r.waiters) }

// count adds one to a counter, and takes that back when the returned function is called.
func (r *reaper) count(counter *int) (undo func()) {
	add := func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		*counter += n
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
	add(1)
	return sync.OnceFunc(func() { add(-1) })
}

// await waits until something that was put in is gone.
func (r *reaper) await(ctx context.Context, gone <-chan struct{}) error {
	defer r.hurry()()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
		return context.Canceled
	}
}

// take returns what is to be removed now.
func (r *reaper) take() []waste {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batch, rest []waste
	for _, w := range r.queue {
		if r.holds == 0 || r.waiters > 0 || w.urgent {
			batch = append(batch, w)
		} else {
			rest = append(rest, w)
		}
	}
	r.queue = rest
	return batch
}

// flush waits until there is nothing to do.
func (r *reaper) flush(ctx context.Context) error {
	defer r.hurry()()
	r.mu.Lock()
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
		return context.Canceled
	}
}

func (r *reaper) stop() {
	r.cancel()
	<-r.ended
	r.route.Close()
	r.socket.Close()
}

func (r *reaper) run(ctx context.Context) {
	defer close(r.ended)
	for {
		select {
		case <-r.kick:
		case <-ctx.Done():
			return
		}
		batch := r.take()
		if len(batch) == 0 {
			continue // the round before has taken it, or it is held back
		}
		if err := r.remove(ctx, batch); err != nil {
			r.d.log.Error("clean up networks", "error", err)
		}
		r.mu.Lock()
		if r.pending -= len(batch); r.pending == 0 {
			close(r.idle)
		}
		r.mu.Unlock()
	}
}

// remove brings the rules into force and then deletes the links, so that no rule leads to an address that nobody has: who
// connects would wait for it. When no network is left it puts the host back as it was found.
func (r *reaper) remove(ctx context.Context, batch []waste) error {
	var links []string
	var children []childLink
	var foreign []*network
	var rules *round
	for _, w := range batch {
		links = append(links, w.links...)
		for _, n := range w.networks {
			if r.d.deletable(n) {
				links = append(links, n.Bridge)
			} else {
				foreign = append(foreign, n)
			}
		}
		children = append(children, w.children...)
		if w.rules && rules == nil {
			rules = r.d.settling(true)
		}
	}
	var errs []error
	if rules != nil { // nil: nothing has to change
		errs = append(errs, r.d.rules.wait(ctx, rules))
	}
	for _, c := range children {
		errs = append(errs, c.delete())
	}
	errs = append(errs, r.deleteLinks(links))
	for _, n := range foreign {
		errs = append(errs, r.d.giveBack(n))
	}
	for _, w := range batch {
		if w.done != nil {
			w.done()
		}
	}
	return errors.Join(append(errs, r.d.leaveHost())...)
}

// deleteLinks deletes links together: the kernel deletes a group of links for the price of
// one. Links that are not there, or go with their namespace meanwhile, are no error.
func (r *reaper) deleteLinks(names []string) error {
	if len(names) == 0 {
		return nil
	}
	group := 0x7474<<16 | uint32(os.Getpid())&0xffff // nobody else's, and not another engine's
	var errs []error
	found := false
	for _, name := range names {
		link, err := r.route.LinkByName(name)
		if err == nil {
			err = r.route.LinkSetGroup(link, int(group))
			found = found || err == nil
		}
		if err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("delete link %s: %w", name, err))
		}
	}
	if !found {
		return errors.Join(errs...)
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(group)))
	if _, err := r.socket.Send(req); err != nil && !errors.Is(err, unix.ENODEV) {
		errs = append(errs, fmt.Errorf("delete links %s: %w", strings.Join(names, " "), err))
	}
	return errors.Join(errs...)
}
