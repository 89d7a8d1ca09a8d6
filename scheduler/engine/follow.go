package engine

import (
	"context"

	"tutti/scheduler/container"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// followRestarts restarts containers after what they depend on with `restart: true`, whenever the engine has restarted that
// by itself, until the engine goes.
func (e *Engine) followRestarts() {
	changes := e.bus.listen()
	defer changes.close()
	for _, p := range e.Projects() { // an earlier engine may not have come to it
		e.follow(p.Name)
	}
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-changes.wake:
		}
		projects := map[string]bool{}
		for _, c := range changes.take() {
			if c.kind == changeStarted || c.kind == changeHealth || c.kind == changeExited {
				projects[c.unit.Config.Project] = true
			}
		}
		for name := range projects {
			e.follow(name)
		}
	}
}

// follow ends the containers of a project that have to be restarted now.
func (e *Engine) follow(project string) {
	if project == "" || !e.followsAny(project) {
		return
	}
	units := map[string]*Unit{}
	var all []plan.Container
	for _, u := range e.ProjectUnits(project) {
		units[u.ID] = u
		all = append(all, e.Observed(u))
	}
	for _, f := range plan.Followers(all) {
		e.endSoon(units[f.Container.ID], f.Container.Seq, supervise.Follows, "dependency "+f.Dependency+" was restarted (restart: true)")
	}
}

// followsAny tells whether anything in a project says `restart: true` and was restarted, without a look at everything.
func (e *Engine) followsAny(project string) bool {
	follows, again := false, false
	for _, u := range e.ProjectUnits(project) {
		again = again || u.Snapshot().Again > 0
		for _, d := range e.dependencies(&u.Config) {
			follows = follows || d.Restart
		}
	}
	return follows && again
}

// endSoon ends a run of a container in order to start it again, in the background. seq says which run: when that is over, or
// somebody stops the container, nothing is done.
func (e *Engine) endSoon(u *Unit, seq uint64, why supervise.Ending, text string) {
	u.mu.Lock()
	busy := u.ending
	u.ending = true
	u.mu.Unlock()
	if busy {
		return
	}
	e.wg.Go(func() {
		defer func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.ending = false
		}()
		if err := e.endRun(e.ctx, u, seq, why, text); err != nil && e.ctx.Err() == nil {
			e.Log.Error("end the container to start it again", "container", u.Name(), "reason", text, "error", err)
		}
	})
}

func (e *Engine) endRun(ctx context.Context, u *Unit, seq uint64, why supervise.Ending, text string) error {
	u.op.Lock()
	defer u.op.Unlock()
	s := u.Snapshot()
	p := u.Running()
	if p == nil || s.Status != container.Running || s.Seq != seq || s.Stopped {
		return nil
	}
	e.Log.Info("restart", "container", u.Name(), "reason", text)
	if _, err := u.update(func(s *container.State) { s.Ending, s.Why = why, text }); err != nil {
		return err
	}
	if err := e.PreStop(ctx, u); err != nil {
		e.Log.Warn("restart all the same", "container", u.Name(), "error", err)
	}
	sig, err := ParseSignal(u.Config.StopSignal)
	if err != nil {
		return err
	}
	return e.end(ctx, u, p, sig, u.Config.StopGrace)
}
