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
	waiting []chan error
}

func startSyncer(ctx context.Context, prepare func(), apply func(context.Context) error) *syncer {
	ctx, cancel := context.WithCancel(ctx)
	s := &syncer{prepare: prepare, apply: apply, kick: make(chan struct{}, 1), cancel: cancel, ended: make(chan struct{})}
	go s.run(ctx)
	return s
}

// request asks for a round that covers every change made so far. The channel gets its result.
func (s *syncer) request() <-chan error {
	done := make(chan error, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, done)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // the next round has not begun
	}
	return done
}

// sync waits until every change made so far is in force.
func (s *syncer) sync(ctx context.Context) error {
	select {
	case err := <-s.request():
		return err
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
			w <- err
		}
	}
}

func (s *syncer) stop() {
	s.cancel()
	<-s.ended
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
