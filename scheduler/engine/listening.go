package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"tutti/dns"
	"tutti/netdriver/netns"
	"tutti/runtime"
)

// How often the sockets of a container that is starting are looked at: all looks together may use a twentieth of a processor.
const (
	lookPause   = 10 * time.Millisecond
	lookAtLeast = 20 // a pause is at least so many times what a look takes, times the containers that are starting
)

// watchListeners tells when a process of the container begins to listen on a TCP port, while it is starting: that is when
// most services become ready, and so when a probe is worth it. Nothing can be told of a container in the host's network.
// stop waits for the end of it.
func (e *Engine) watchListeners(ctx context.Context, u *Unit, p *runtime.Container, starting *startingPhase) (nudge <-chan struct{}, stop func()) {
	if starting.over || u.Config.NetworkMode == "host" {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	nudges := make(chan struct{}, 1)
	ended := make(chan struct{})
	e.wg.Go(func() {
		defer close(ended)
		err := e.lookForListeners(ctx, p, starting, nudges)
		// A kernel without sock_diag only makes it a matter of the probes themselves.
		if err != nil && ctx.Err() == nil && !errors.Is(err, unix.ENOENT) {
			e.Log.Warn("look for listening sockets", "container", u.Name(), "error", err)
		}
	})
	return nudges, func() { cancel(); <-ended }
}

func (e *Engine) lookForListeners(ctx context.Context, p *runtime.Container, starting *startingPhase, nudges chan<- struct{}) error {
	ns, err := netns.Open(p.NetNS())
	if err != nil {
		return nil //nolint:nilerr // it has ended
	}
	listeners, err := ns.Listeners()
	ns.Close()
	if err != nil {
		return err
	}
	defer listeners.Close()
	var before uint64
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-starting.done:
			return nil
		case <-t.C:
		}
		began := time.Now()
		now, err := listeners.Sum(dns.Listen.Addr().As4())
		if err != nil {
			return err
		}
		if now != before && now != 0 {
			select {
			case nudges <- struct{}{}:
			default:
			}
		}
		before = now
		t.Reset(max(lookPause, lookAtLeast*time.Since(began)*time.Duration(e.starting.Load())))
	}
}
