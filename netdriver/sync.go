package netdriver

import (
	"context"
	"sync"

	"tutti/netdriver/portmap"
)

// syncer brings the firewall in line with what the driver wants. Changes that come while it
// is at work are brought into force together by its next round, in one batch.
type syncer struct {
	prepare func() // before the first round, whether or not one is asked for
	apply   func(context.Context) error
	kick    chan struct{} // holds a token when somebody waits
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	waiting []*round
}

// round is a round of the syncer that somebody has asked for.
type round struct {
	done chan struct{} // closed when it is over
	err  error         // then
}

// failed tells whether the round is over, and in vain.
func (r *round) failed() bool {
	select {
	case <-r.done:
		return r.err != nil
	default:
		return false
	}
}

func startSyncer(ctx context.Context, prepare func(), apply func(context.Context) error) *syncer {
	ctx, cancel := context.WithCancel(ctx)
	s := &syncer{prepare: prepare, apply: apply, kick: make(chan struct{}, 1), cancel: cancel, ended: make(chan struct{})}
	go s.run(ctx)
	return s
}

// request asks for a round that covers every change made so far.
func (s *syncer) request() *round {
	r := &round{done: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, r)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // the next round has not begun
	}
	return r
}

// sync makes a round that covers every change made so far.
func (s *syncer) sync(ctx context.Context) error { return s.wait(ctx, s.request()) }

// wait waits for the end of a round.
func (s *syncer) wait(ctx context.Context, r *round) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return context.Canceled
	}
}

func (s *syncer) run(ctx context.Context) {
	defer close(s.ended)
	s.prepare()
	for {
		select {
		case <-s.kick:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		waiting := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		err := s.apply(ctx)
		for _, w := range waiting {
			w.err = err
			close(w.done)
		}
	}
}

func (s *syncer) stop() {
	s.cancel()
	<-s.ended
}

// settling returns the round that brings every change made so far into force, nil if all is. What has been brought into
// force already by a round that somebody else has asked for costs nothing. Without surplus, rules that have to go are no
// reason for a round of their own; the next one takes them along.
func (d *Driver) settling(surplus bool) *round {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unsettled || surplus && d.surplus || d.round != nil && d.round.failed() {
		d.unsettled, d.surplus, d.round = false, false, d.rules.request()
	}
	return d.round
}

// Settle waits until everything made so far is in force: by [Driver.AddNetwork], [Driver.Reserve] and all others. What is
// being removed goes when it is removed at all.
func (d *Driver) Settle(ctx context.Context) error {
	r := d.settling(false)
	if r == nil {
		return nil
	}
	return d.rules.wait(ctx, r)
}

// applyRules is a round of the syncer: forwarding is switched on while there are networks,
// and the rules are those of the networks and ports there are.
func (d *Driver) applyRules(ctx context.Context) error {
	unlock, err := d.host.lock()
	if err != nil {
		return err
	}
	defer unlock()
	want := d.wantedRules()
	if len(want.Networks) > 0 && d.firewall.Available() {
		if err := d.prepareHost(want.HasIPv4(), want.HasIPv6()); err != nil {
			return err
		}
	}
	if len(want.Networks) > 0 {
		d.watchRules()
	}
	restored := d.firewall.Restored()
	if err := d.firewall.Apply(ctx, want); err != nil {
		return err
	}
	if d.firewall.Restored() > restored {
		d.guard.note(d.log)
	}
	var bridges []string
	for _, n := range want.Networks {
		bridges = append(bridges, n.Bridge)
	}
	d.zones.Apply(ctx, bridges)
	return nil
}

// wantedRules returns what the firewall has to let through now.
func (d *Driver) wantedRules() portmap.Rules {
	d.mu.Lock()
	defer d.mu.Unlock()
	var r portmap.Rules
	for _, n := range d.networks {
		if n.gone == nil && n.Bridged() {
			r.Networks = append(r.Networks, n.rules())
		}
	}
	for _, c := range d.containers {
		for _, b := range c.bindings {
			p := b.rule()
			if e := c.endpointOf(b.ContainerIP); e != nil && !e.network.opt.icc {
				p.Except = e.network.Bridge
			}
			if !b.Input {
				r.Ports = append(r.Ports, p)
			}
		}
		r.Openings = append(r.Openings, c.openRules()...)
	}
	return r
}
