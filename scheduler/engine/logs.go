package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"tutti/runtime/logs"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// Logs sends the logs of a project's containers in the order of time: first what there is, then, with Follow, what comes.
// With Follow and Events it goes on over containers that are created later, until ctx is done; with Follow alone until
// no container can write any more. watching is called once nothing that happens from then on can be missed.
func (e *Engine) Logs(ctx context.Context, project string, o api.LogOptions, watching func(), send func(api.LogFrame) error) error {
	if err := e.checkServices(project, o.Services); err != nil && !o.Events {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &logStream{e: e, o: o, project: project, cancel: cancel, followers: map[string]*follower{}}
	s.send = func(f api.LogFrame) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if err := send(f); err != nil {
			cancel(err)
		}
	}
	changes := e.bus.listen()
	defer changes.close()
	watching()
	units := e.SelectUnits(s.match)
	if !o.Events {
		err := s.merged(ctx, units)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	for _, u := range units {
		s.follow(ctx, u)
		if o.Follow {
			s.wg.Go(func() { s.ended(ctx, u) })
		}
	}
	if o.Follow {
		s.lifecycle(ctx, changes)
	}
	s.wg.Wait()
	return context.Cause(ctx)
}

// checkServices refuses names that the project does not have, by name.
func (e *Engine) checkServices(project string, services []string) error {
	units := e.ProjectUnits(project)
	for _, s := range services {
		if !slices.ContainsFunc(units, func(u *Unit) bool { return u.Config.Service == s }) {
			return fmt.Errorf("no such service: %s", s)
		}
	}
	return nil
}

// logStream is one request for logs.
type logStream struct {
	e       *Engine
	o       api.LogOptions
	project string
	cancel  context.CancelCauseFunc
	mu      sync.Mutex // one frame at a time
	send    func(api.LogFrame)
	wg      sync.WaitGroup

	fmu       sync.Mutex
	followers map[string]*follower // by container id
}

func (s *logStream) match(c *container.Config) bool {
	return c.Project == s.project && !c.OneOff && (len(s.o.Services) == 0 || slices.Contains(s.o.Services, c.Service)) &&
		(s.o.Index == 0 || c.Number == s.o.Index)
}

func frame(u *Unit, event string) api.LogFrame {
	return api.LogFrame{Event: event, ID: u.ID, Container: u.Name(), Service: u.Config.Service, Number: u.Config.Number}
}

func lineFrame(u *Unit, l logs.Entry) api.LogFrame {
	f := frame(u, "")
	f.Stream, f.Time, f.Line = l.Stream, l.Time, l.Line
	return f
}

// merged sends what the containers have logged so far, merged by time, and with Follow what comes, until none of them can
// write any more. A container that has ended is not waited for.
func (s *logStream) merged(ctx context.Context, units []*Unit) error {
	var sources []logs.Source
	var from []*Unit
	for _, u := range units {
		if u.Log == nil {
			continue
		}
		o := s.readOptions()
		st := u.Snapshot()
		o.Follow = o.Follow && (st.Alive() || st.Status == container.Restarting)
		sources = append(sources, logs.Source{Log: u.Log, Options: o})
		from = append(from, u)
	}
	return logs.Merge(ctx, sources, func(i int, l logs.Entry) error {
		s.send(lineFrame(from[i], l))
		return ctx.Err()
	})
}

func (s *logStream) readOptions() logs.ReadOptions {
	return logs.ReadOptions{Tail: s.o.Tail, Since: s.o.Since, Until: s.o.Until, Follow: s.o.Follow}
}

// follower reads one container's log for a stream.
type follower struct {
	active bool
	again  bool          // started anew while active
	last   time.Time     // of the last line sent
	ended  chan struct{} // closed when the current reading has ended
}

// follow sends what a container has logged and will log, until its log ends. Called again when the container has been
// started anew, it goes on where it was.
func (s *logStream) follow(ctx context.Context, u *Unit) {
	if u.Log == nil {
		return
	}
	s.fmu.Lock()
	defer s.fmu.Unlock()
	f := s.followers[u.ID]
	if f == nil {
		f = &follower{}
		s.followers[u.ID] = f
	}
	f.again = f.active
	if f.active {
		return
	}
	f.active, f.ended = true, make(chan struct{})
	s.wg.Go(func() {
		for s.read(ctx, u, f) {
		}
	})
}

// read sends a log to its end and says whether to do so again.
func (s *logStream) read(ctx context.Context, u *Unit, f *follower) bool {
	o := s.readOptions()
	if !f.last.IsZero() {
		o.Tail, o.Since = -1, f.last.Add(1)
	}
	err := u.Log.Read(ctx, o, func(l logs.Entry) error {
		f.last = l.Time
		s.send(lineFrame(u, l))
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil && !u.isRemoved() {
		s.cancel(fmt.Errorf("read the log of %s: %w", u.Name(), err))
	}
	s.fmu.Lock()
	defer s.fmu.Unlock()
	again := f.again && ctx.Err() == nil
	f.again, f.active = false, again
	close(f.ended)
	if again {
		f.ended = make(chan struct{})
	}
	return again
}

// rest waits until the last words of a container that has ended are sent: its exit is told after them.
func (s *logStream) rest(ctx context.Context, u *Unit) {
	s.fmu.Lock()
	var ended chan struct{}
	if f := s.followers[u.ID]; f != nil {
		ended = f.ended
	}
	s.fmu.Unlock()
	if ended == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.wg.Go(func() {
		defer cancel()
		select {
		case <-ended:
		case <-ctx.Done():
		}
	})
	// Or until it has been started again, and its log goes on.
	_ = u.Wait(ctx, func(st container.State) (bool, error) { return st.Alive(), nil })
}

// ended tells of a container that has ended before the stream began: who has just seen it run hears of its end nowhere else.
func (s *logStream) ended(ctx context.Context, u *Unit) {
	st := u.Snapshot()
	if st.Status != container.Exited {
		return
	}
	s.rest(ctx, u)
	if u.Snapshot().Status != container.Exited {
		return
	}
	f := frame(u, "ended")
	f.ExitCode, f.Time = st.ExitCode, st.Finished
	s.send(f)
}

// lifecycle follows containers as they come and tells how they end, until ctx is done.
func (s *logStream) lifecycle(ctx context.Context, changes *listener) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.wake:
		}
		for _, c := range changes.take() {
			if !s.match(&c.unit.Config) {
				continue
			}
			f := frame(c.unit, string(c.kind))
			f.ExitCode, f.Restart, f.Health, f.Why = c.code, c.restart, c.health, c.why
			switch c.kind {
			case changeCreated:
				s.follow(ctx, c.unit)
				continue
			case changeStarted:
				s.follow(ctx, c.unit)
			case changeExited:
				f.Time = c.unit.Snapshot().Finished
				if !c.restart {
					s.rest(ctx, c.unit)
				}
			case changeHook:
				f.Stream, f.Line, f.Time = c.stream, c.line, time.Now()
			case changeRenamed: // its lines have the new name from here on
				continue
			case changeHealth, changeRemoved:
			}
			s.send(f)
		}
	}
}
