package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"tutti/netdriver/netns"
	"tutti/runtime"
	"tutti/scheduler/container"
	"tutti/scheduler/probe"
	"tutti/scheduler/supervise"
)

// watchHealth runs the container's health check until ctx is done.
func (e *Engine) watchHealth(ctx context.Context, u *Unit, p *runtime.Container) {
	s := u.Snapshot()
	if s.Health == nil {
		return
	}
	starting := e.beginStarting(s.Health.Status)
	defer starting.end()
	nudge, stop := e.watchListeners(ctx, u, p, starting)
	defer stop()
	u.Config.Health.Watch(ctx, *s.Health, ranFor(time.Since(s.Started), p.Age()), supervise.Prober{
		Probe:  func(ctx context.Context) supervise.ProbeResult { return e.probe(ctx, u, p) },
		Nudge:  nudge,
		Crowd:  func() int { return int(e.starting.Load()) },
		Update: func(h supervise.Health) { e.updateHealth(u, s.Seq, h, starting) },
	})
}

// updateHealth records what the probes say and acts upon it. Only what changes something goes to disk.
func (e *Engine) updateHealth(u *Unit, seq uint64, h supervise.Health, starting *startingPhase) {
	before := u.Snapshot().Health
	if before == nil {
		return // it has just ended
	}
	record := func(s *container.State) {
		if s.Health != nil {
			s.Health = &h
		}
	}
	if before.Status == h.Status && before.Streak == h.Streak {
		u.note(record)
	} else if _, err := u.update(record); err != nil {
		e.Log.Error("record the health", "container", u.Name(), "error", err)
	}
	if before.Status != h.Status {
		if h.Status != supervise.Starting {
			starting.end()
		}
		e.bus.send(change{kind: changeHealth, unit: u, health: h.Status})
	}
	if h.Status == supervise.Unhealthy && u.Config.Health.RestartUnhealthy {
		e.endSoon(u, seq, supervise.Unwell, "unhealthy"+LastProbe(&h))
	}
}

// startingPhase counts a container among those that are not healthy yet, which share what early probes may cost.
type startingPhase struct {
	e    *Engine
	done chan struct{} // closed at its end; nil when it never was in it
	over bool
}

func (e *Engine) beginStarting(status string) *startingPhase {
	if status != supervise.Starting {
		return &startingPhase{e: e, over: true}
	}
	e.starting.Add(1)
	return &startingPhase{e: e, done: make(chan struct{})}
}

// end ends the phase; only the goroutine that watches the health calls it.
func (s *startingPhase) end() {
	if !s.over {
		s.over = true
		s.e.starting.Add(-1)
		close(s.done)
	}
}

// probe runs the health check once.
func (e *Engine) probe(ctx context.Context, u *Unit, p *runtime.Container) supervise.ProbeResult {
	h := u.Config.Health
	dial := func(ctx context.Context, port uint16) (net.Conn, error) { return dialContainer(ctx, u, p, port) }
	switch {
	case h.HTTP != nil:
		return probe.HTTP(ctx, dial, h.HTTP)
	case h.TCP != 0:
		return probe.TCP(ctx, dial, h.TCP)
	}
	r := supervise.ProbeResult{Start: time.Now().UTC(), Code: -1}
	out, code, err := e.execCaptured(ctx, u, p, h.Command())
	r.End, r.Output = time.Now().UTC(), out
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.Output = "the health check took longer than its timeout and was ended\n" + out
	case err != nil:
		r.Output = err.Error()
	default:
		r.Code = code
	}
	return r
}

// dialContainer connects to a port of the container from inside its network namespace: on the loopback interface, or where
// nobody listens there on its own addresses.
func dialContainer(ctx context.Context, u *Unit, p *runtime.Container, port uint16) (net.Conn, error) {
	ns, err := netns.Open(p.NetNS())
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	candidates := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	for _, n := range u.Snapshot().Endpoints {
		candidates = append(candidates, n.Addresses()...)
	}
	var first error
	for _, a := range candidates {
		conn, err := ns.Dial(ctx, "tcp", netip.AddrPortFrom(a, port))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// execCaptured runs a command in the container as its own user and returns the first 4 KiB of what it prints.
func (e *Engine) execCaptured(ctx context.Context, u *Unit, p *runtime.Container, args []string) (output string, code int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	proc, err := p.Exec(ctx, NewID(), u.newProcess(args, false), runtime.Stdio{Stdout: w, Stderr: w})
	_ = w.Close()
	if err != nil {
		return "", 0, err
	}
	text := make(chan string, 1)
	go func() { // ends when the last writer is gone, or r is closed
		var b limitedBuffer
		_, _ = b.ReadFrom(r)
		text <- b.String()
	}()
	status, err := proc.Wait(ctx)
	if err != nil {
		if err := proc.KillTree(); err != nil {
			e.Log.Warn("end a command in a container", "container", u.Name(), "error", err)
		}
		_, _ = proc.Wait(context.WithoutCancel(ctx))
	}
	_ = r.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a child in the background may keep the pipe open
	return <-text, status.Code, err
}

// limitedBuffer keeps the first 4 KiB of what it reads and drops the rest.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) ReadFrom(r *os.File) (int64, error) {
	var chunk [4096]byte
	var n int64
	for {
		k, err := r.Read(chunk[:])
		n += int64(k)
		if room := len(chunk) - b.Len(); room > 0 {
			b.Write(chunk[:min(k, room)])
		}
		if err != nil {
			return n, err
		}
	}
}

// LastProbe is what to say of a container's last probe after that it is unhealthy.
func LastProbe(h *supervise.Health) string {
	if len(h.Log) == 0 {
		return ""
	}
	last := h.Log[len(h.Log)-1]
	out := strings.TrimSpace(last.Output)
	if out == "" {
		return fmt.Sprintf(": the last probe ended with %d", last.Code)
	}
	return fmt.Sprintf(": the last probe ended with %d: %s", last.Code, out)
}
