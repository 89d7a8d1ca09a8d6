package engine

import (
	"context"
	"time"

	"tutti/runtime"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// startCause is why a container is started.
type startCause int

const (
	byCommand    startCause = iota // somebody asked for it, or the host has booted
	byRequest                      // somebody asked for a restart of this container alone, without a plan
	byPolicy                       // its restart policy, or its health
	byDependency                   // what it depends on was restarted
)

// causeOf is the cause of the start that follows when the engine has ended a run.
func causeOf(e supervise.Ending) startCause {
	if e == supervise.Follows {
		return byDependency
	}
	return byPolicy
}

// count keeps account of a start: only what the restart policy does uses up its retries, and only what the engine does by
// itself concerns those that depend on the container; a command has them in its plan.
func (c startCause) count(s *container.State) {
	switch c {
	case byCommand:
		s.Restarts = 0
	case byRequest:
		s.Restarts = 0
		s.Again = s.Seq
	case byPolicy:
		s.Restarts++
		s.Again = s.Seq
	case byDependency:
		s.Again = s.Seq
	}
}

// restartAfter starts a container again after a delay, once what it depends on is as it asks, unless somebody stops, starts
// or removes it before.
func (e *Engine) restartAfter(u *Unit, delay time.Duration, cause startCause) {
	release := e.busy.begin()
	e.wg.Go(func() {
		defer release()
		defer u.setWaits(nil)
		defer func() {
			if u.Stopped() { // it is not restarted
				e.abandon(u)
			}
		}()
		if !e.waitDelay(u, delay) {
			return
		}
		for e.awaitDependencies(u) {
			done, started := e.restartNow(u, cause)
			if started {
				if err := e.postStart(e.ctx, u); err != nil && e.ctx.Err() == nil {
					e.Log.Error("after the restart", "container", u.Name(), "error", err)
				}
			}
			if done {
				return
			}
		}
	})
}

func isRestarting(s container.State) bool { return s.Status == container.Restarting }

// waitDelay waits, and says whether the container is still to be started.
func (e *Engine) waitDelay(u *Unit, delay time.Duration) bool {
	ctx, cancel := context.WithTimeout(e.ctx, delay)
	defer cancel()
	_ = u.Wait(ctx, func(s container.State) (bool, error) { return !isRestarting(s), nil })
	return e.ctx.Err() == nil && isRestarting(u.Snapshot())
}

// restartNow starts a container that is restarting. It says false when it has to wait once more for what it depends on.
func (e *Engine) restartNow(u *Unit, cause startCause) (done, started bool) {
	u.op.Lock()
	defer u.op.Unlock()
	before := u.Snapshot()
	if !isRestarting(before) || u.isRemoved() {
		return true, false
	}
	if len(e.unmet(u)) > 0 {
		return false, false
	}
	delay := before.Pending
	if cause == byCommand {
		delay = 0
	}
	err := e.startLocked(e.ctx, u, cause, delay)
	if err == nil || e.ctx.Err() != nil {
		return true, err == nil
	}
	e.Log.Error("restart", "container", u.Name(), "error", err)
	e.failedToStart(u, before, cause, runtime.ExitCode(err))
	return true, false
}

// failedToStart treats a start by the engine itself that did not succeed as a run that failed at once: the cause may go away
// (a folder that is not mounted yet, a port that somebody has). docker gives up here.
func (e *Engine) failedToStart(u *Unit, before container.State, cause startCause, code int) {
	var after time.Duration
	var again bool
	_, err := u.update(func(s *container.State) {
		after, again = u.Config.Now(*s).Restart.Next(supervise.Exit{Code: max(code, 1), Stopped: s.Stopped, Restarts: before.Restarts, Delay: before.Pending})
		if again {
			cause.count(s)
			s.RestartLater(after)
		}
	})
	if err != nil {
		e.Log.Error("record the failed start", "container", u.Name(), "error", err)
	}
	e.bus.send(change{kind: changeExited, unit: u, code: code, restart: again})
	if again {
		e.restartAfter(u, after, cause)
	}
}

// awaitDependencies blocks until all that a container depends on is as it asks, or it is not to be started any more; it says
// whether it is. It is woken by the changes themselves.
func (e *Engine) awaitDependencies(u *Unit) bool {
	changes := e.bus.listen()
	defer changes.close()
	told := ""
	for {
		u.mu.Lock()
		state, changed := u.state, u.changed
		u.mu.Unlock()
		if !isRestarting(state) || e.ctx.Err() != nil {
			return false
		}
		waits := e.unmet(u)
		u.setWaits(waits)
		if len(waits) == 0 {
			return true
		}
		if text := waits[0].String(); text != told {
			told = text
			e.Log.Info("wait before the start", "container", u.Name(), "for", text)
		}
		if !e.concerned(u, changes, changed) {
			return false
		}
	}
}

// concerned blocks until something that a container depends on has changed, or itself; false when the engine goes.
func (e *Engine) concerned(u *Unit, changes *listener, changed <-chan struct{}) bool {
	for {
		select {
		case <-e.ctx.Done():
			return false
		case <-changed:
			return true
		case <-changes.wake:
		}
		for _, c := range changes.take() {
			if c.unit.Config.Project != u.Config.Project {
				continue
			}
			for _, d := range e.dependencies(&u.Config) {
				if d.Service == c.unit.Config.Service {
					return true
				}
			}
		}
	}
}

// unmet is what a container has to wait for.
func (e *Engine) unmet(u *Unit) []plan.Wait {
	if u.Config.Project == "" || u.Config.OneOff {
		return nil
	}
	c := e.Observed(u)
	if len(c.DependsOn) == 0 {
		return nil
	}
	var all []plan.Container
	for _, other := range e.SelectUnits(func(o *container.Config) bool { return o.Project == u.Config.Project }) {
		if hasDependency(c.DependsOn, other.Config.Service) {
			all = append(all, e.Observed(other))
		}
	}
	return plan.Unmet(c, all)
}

func hasDependency(all []plan.Dependency, service string) bool {
	for _, d := range all {
		if d.Service == service {
			return true
		}
	}
	return false
}
