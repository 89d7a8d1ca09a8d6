package engine

import (
	"context"
	"errors"
	"os"
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
func (e *Engine) watch(u *Unit, p *runtime.Container, pipes *logs.Pipes) {
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan struct{})
	u.setProcess(p, cancel, done)
	release := e.busy.begin()

	logged := make(chan struct{})
	consoleCtx, stopConsole := context.WithCancel(e.ctx)
	e.wg.Go(func() {
		defer close(logged)
		if err := e.capture(consoleCtx, u, p, pipes); err != nil && e.ctx.Err() == nil {
			e.Log.Error("capture the output", "container", u.Name(), "error", err)
		}
	})
	whole := make(chan struct{}) // closed when the log of this run has its last byte
	e.ship(u, whole)
	if u.Config.Health != nil {
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
			e.Log.Error("wait for the container", "container", u.Name(), "error", err)
			status = runtime.ExitStatus{Code: codeUnseen, At: time.Now()}
			if _, err := u.update(func(s *container.State) { s.Error = whyUnseen(err) }); err != nil {
				e.Log.Error("record the container's end", "container", u.Name(), "error", err)
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
		// A line that the container did not finish ends here, so that it is sent on with the others.
		if err := u.captured().EndRun(); err != nil {
			e.Log.Warn("end the log", "container", u.Name(), "error", err)
		}
		close(whole)
		e.ended(u, p, status)
	})
}

// capture writes what the container prints into its log until nobody can write any more. With the driver "none" somebody
// has to read, too, or the container could not write on.
func (e *Engine) capture(ctx context.Context, u *Unit, p *runtime.Container, pipes *logs.Pipes) error {
	log := u.captured()
	switch {
	case p.Console != nil:
		return errors.Join(log.CaptureConsole(ctx, p.Console), p.Console.Close())
	case pipes != nil:
		return errors.Join(log.Capture(e.ctx, pipes), pipes.Close())
	}
	return nil
}

// ended records how a container ended, gives back what it had and lets the restart policy decide.
func (e *Engine) ended(u *Unit, p *runtime.Container, status runtime.ExitStatus) {
	ctx := context.WithoutCancel(e.ctx)
	oom := OutOfMemory(p)
	u.wiring.Lock()
	e.unresolve(u.ID)
	e.reaper.retain(u.ID) // until the disk knows how it ended
	err := errors.Join(e.NetDriver.Vacate(u.ID), p.Delete(ctx), os.RemoveAll(e.filesDir(u.ID)))

	u.mu.Lock()
	u.process, u.cancel = nil, nil
	u.mu.Unlock()
	u.wiring.Unlock()
	e.recordEnd(u, status, p.Age(), oom, err)
}

// recordEnd records how a run ended, and decides what follows. age is for ranFor; cleaning is what went wrong with the
// clean-up.
func (e *Engine) recordEnd(u *Unit, status runtime.ExitStatus, age time.Duration, oom *container.OOM, cleaning error) {
	var after time.Duration
	var again bool
	now, stateErr := u.update(func(s *container.State) { // decided here: a stop comes before or after, not in between
		ran := ranFor(status.At.Sub(s.Started), age)
		policy := u.Config.Now(*s).Restart
		after, again = policy.Next(supervise.Exit{
			Code: status.Code, Stopped: s.Stopped || e.halting.Load(), Ending: s.Ending, Ran: ran, Restarts: s.Restarts, Delay: s.Delay,
		})
		s.Status, s.Pid, s.ExitCode, s.OOMKilled, s.Finished = container.Exited, 0, status.Code, oom != nil, status.At.UTC()
		s.Signal, s.OOM = status.Signal, oom
		if again {
			s.Restarts = policy.Counted(s.Restarts, ran)
			s.RestartLater(after)
		}
		s.Health = nil
		s.Bindings = nil
	})
	if !again {
		e.abandon(u)
	}
	if err := errors.Join(cleaning, stateErr); err != nil {
		e.Log.Error("clean up after the container", "container", u.Name(), "error", err)
	}
	if !u.isUnsaved() {
		e.saved(u)
	}
	if err := u.captured().EndRun(); err != nil {
		e.Log.Warn("end the log", "container", u.Name(), "error", err)
	}
	end := u.captured().End()
	if !again {
		u.captured().Finish()
	}
	e.bus.send(change{kind: changeExited, unit: u, code: status.Code, restart: again, why: now.Why})
	if !again && u.Config.AutoRemove {
		e.autoRemove(context.WithoutCancel(e.ctx), u)
	}
	e.endLife(u, status.Code, end)
	if again {
		e.restartAfter(u, after, causeOf(now.Ending))
	}
}
