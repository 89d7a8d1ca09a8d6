package scheduler

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"tutti/runtime"
	"tutti/runtime/logs"
	"tutti/scheduler/container"
	"tutti/scheduler/supervise"
)

// drainTime bounds how long the output of a container that has ended is read for. All its writers are gone then, unless
// it shares the host's pid namespace and left somebody behind.
const drainTime = 2 * time.Second

// watch supervises a running container until it has ended: its output, its health and its end. pipes is nil when nothing
// is logged or it has a terminal.
func (e *Engine) watch(u *unit, p *runtime.Container, pipes *logs.Pipes) {
	ctx, cancel := context.WithCancel(e.ctx)
	u.mu.Lock()
	u.process, u.cancel, u.done = p, cancel, make(chan struct{})
	done := u.done
	u.mu.Unlock()
	release := e.busy.begin()

	logged := make(chan struct{})
	consoleCtx, stopConsole := context.WithCancel(e.ctx)
	e.wg.Go(func() {
		defer close(logged)
		if err := e.capture(consoleCtx, u, p, pipes); err != nil && e.ctx.Err() == nil {
			e.log.Error("capture the output", "container", u.config.Name, "error", err)
		}
	})
	e.ship(u, logged)
	if u.config.Health != nil {
		e.wg.Go(func() { e.whileAwake(ctx, u, func(ctx context.Context) { e.watchHealth(ctx, u, p) }) })
	}
	e.wg.Go(func() {
		defer release()
		defer close(done)
		defer stopConsole()
		status, err := p.Wait(e.ctx)
		cancel()
		if e.ctx.Err() != nil {
			return // the engine goes, the container stays
		}
		if err != nil {
			e.log.Error("wait for the container", "container", u.config.Name, "error", err)
			status = runtime.ExitStatus{Code: codeUnseen, At: time.Now()}
			if _, err := u.update(func(s *container.State) { s.Error = whyUnseen(err) }); err != nil {
				e.log.Error("record the container's end", "container", u.config.Name, "error", err)
			}
		}
		select {
		case <-logged:
		case <-time.After(drainTime):
			if pipes != nil {
				pipes.Drain()
			}
			stopConsole()
			<-logged
		}
		e.ended(u, p, status)
	})
}

// capture writes what the container prints into its log until nobody can write any more.
func (e *Engine) capture(ctx context.Context, u *unit, p *runtime.Container, pipes *logs.Pipes) error {
	switch {
	case p.Console != nil && u.log == nil: // somebody has to read, or the container could not write on
		stop := context.AfterFunc(ctx, func() { _ = p.Console.SetReadDeadline(time.Now()) })
		defer stop()
		_, _ = io.Copy(io.Discard, p.Console) // EIO when the last process is gone
		return p.Console.Close()
	case p.Console != nil:
		return errors.Join(u.log.CaptureConsole(ctx, p.Console), p.Console.Close())
	case pipes != nil:
		return errors.Join(u.log.Capture(e.ctx, pipes), pipes.Close())
	}
	return nil
}

// ended records how a container ended, gives back what it had and lets the restart policy decide.
func (e *Engine) ended(u *unit, p *runtime.Container, status runtime.ExitStatus) {
	ctx := context.WithoutCancel(e.ctx)
	oom := outOfMemory(p)
	e.unresolve(u.id)
	err := errors.Join(e.net.Detach(ctx, u.id), p.Delete(ctx), os.RemoveAll(e.filesDir(u.id)))

	before := u.snapshot()
	after, again := u.config.Restart.Next(supervise.Exit{
		Code: status.Code, Stopped: before.Stopped, Ran: status.At.Sub(before.Started), Restarts: before.Restarts, Delay: before.Delay,
	})
	u.mu.Lock()
	u.process, u.cancel = nil, nil
	u.mu.Unlock()
	_, stateErr := u.update(func(s *container.State) {
		s.Status, s.Pid, s.ExitCode, s.OOMKilled, s.Finished = container.Exited, 0, status.Code, oom != nil, status.At.UTC()
		s.Signal, s.OOM = status.Signal, oom
		if again {
			s.Status = container.Restarting
		}
		s.Health = nil
		s.Bindings = nil
	})
	// Only now that the disk knows how it ended may the keeper forget.
	if err := errors.Join(err, stateErr, e.keeper.Release(u.id)); err != nil {
		e.log.Error("clean up after the container", "container", u.config.Name, "error", err)
	}
	if u.log != nil {
		if err := u.log.EndRun(); err != nil {
			e.log.Warn("end the log", "container", u.config.Name, "error", err)
		}
		if !again {
			u.log.Finish()
		}
	}
	e.bus.send(change{kind: changeExited, unit: u, code: status.Code, restart: again})
	if again {
		e.restartAfter(u, after)
	}
}

// restartAfter starts a container again after a delay, unless somebody stops, starts or removes it before.
func (e *Engine) restartAfter(u *unit, delay time.Duration) {
	release := e.busy.begin()
	e.wg.Go(func() {
		defer release()
		ctx, cancel := context.WithTimeout(e.ctx, delay)
		defer cancel()
		_ = u.wait(ctx, func(s container.State) (bool, error) { return s.Status != container.Restarting, nil })
		if e.ctx.Err() != nil {
			return
		}
		u.op.Lock()
		defer u.op.Unlock()
		if u.snapshot().Status != container.Restarting || u.isRemoved() {
			return
		}
		if err := e.startLocked(e.ctx, u, delay); err != nil {
			e.log.Error("restart", "container", u.config.Name, "error", err)
			e.bus.send(change{kind: changeExited, unit: u, code: runtime.ExitCode(err)})
		}
	})
}

// watchHealth runs the container's health check until ctx is done.
func (e *Engine) watchHealth(ctx context.Context, u *unit, p *runtime.Container) {
	s := u.snapshot()
	if s.Health == nil {
		return
	}
	u.config.Health.Watch(ctx, *s.Health, s.Started, func(ctx context.Context) supervise.ProbeResult {
		return e.probe(ctx, u, p)
	}, func(h supervise.Health) {
		var was string
		_, err := u.update(func(s *container.State) {
			if was = s.HealthStatus(); s.Health != nil {
				s.Health = &h
			}
		})
		if err != nil {
			e.log.Error("record the health", "container", u.config.Name, "error", err)
		}
		if was != h.Status {
			e.bus.send(change{kind: changeHealth, unit: u, health: h.Status})
		}
	})
}

// probe runs the health check's command in the container once.
func (e *Engine) probe(ctx context.Context, u *unit, p *runtime.Container) supervise.ProbeResult {
	r := supervise.ProbeResult{Start: time.Now().UTC(), Code: -1}
	out, code, err := e.execCaptured(ctx, u, p, probeCommand(u.config.Health.Test))
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

// probeCommand is the argument vector of a health check's test.
func probeCommand(test []string) []string {
	switch test[0] {
	case "CMD":
		return test[1:]
	case "CMD-SHELL":
		return []string{"/bin/sh", "-c", strings.Join(test[1:], " ")}
	default:
		return test
	}
}

// execCaptured runs a command in the container as its own user and returns the first 4 KiB of what it prints.
func (e *Engine) execCaptured(ctx context.Context, u *unit, p *runtime.Container, args []string) (output string, code int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	proc, err := p.Exec(ctx, newID(), u.config.Process(args, false), runtime.Stdio{Stdout: w, Stderr: w})
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
		_ = proc.Kill(syscall.SIGKILL)
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
