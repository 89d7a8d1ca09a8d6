package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutti/scheduler/api"
)

// exited is told of the end of a container that is watched.
func (s *session) exited(ctx context.Context, f api.LogFrame) {
	s.told[f.ID] = f.Time
	switch {
	case f.Restart:
		s.showExit(f)
	case s.givesWay(f):
		s.pending = append(s.pending, f)
	case s.stopping || s.upEnd != nil || s.known(f.ID):
		s.settle(ctx, f)
	}
	// Else it was there before stock was taken, and then no more: another is in its place.
}

// givesWay says whether a container may have ended because `up` or the watch puts another in its place: docker compose takes
// the end of such a one for no exit.
func (s *session) givesWay(f api.LogFrame) bool {
	return !s.stopping && (s.upEnd != nil && !s.started[f.ID] || s.watch.isBusy())
}

// known says whether a container was there when stock was taken, or has been started since.
func (s *session) known(id string) bool {
	_, alive := s.alive[id]
	_, owed := s.owed[id]
	return alive || owed
}

func (s *session) showExit(f api.LogFrame) {
	if s.shown[f.Service] {
		s.print(func() { s.printer.Exit(f) })
	}
}

// settle does what is to be done when a container has ended.
func (s *session) settle(ctx context.Context, f api.LogFrame) {
	s.showExit(f)
	if !f.Time.Before(s.owed[f.ID]) {
		delete(s.owed, f.ID)
	}
	if !f.Time.Before(s.alive[f.ID]) { // otherwise it has been started again since, which takeStock has heard before this
		delete(s.alive, f.ID)
	}
	if f.Service == s.f.exitCodeFrom && !s.fromSeen {
		s.code, s.fromSeen = f.ExitCode, true
	}
	abort := s.f.abortOnExit || s.f.abortOnFailure && f.ExitCode != 0
	if !abort || s.stopping {
		return
	}
	if !s.fromSeen {
		s.code = f.ExitCode
	}
	s.stop(ctx, "Aborting on container exit...")
}

// takeStock asks what there is now that `up`, or the watch, has done its part: these containers are those to wait for. It
// returns false when that is not known.
func (s *session) takeStock(ctx context.Context) bool {
	now, err := s.look(ctx)
	if err != nil {
		s.err = errors.Join(s.err, err)
		return false
	}
	s.alive, s.owed = now.running, now.ended
	pending := s.pending
	s.pending = nil
	for _, f := range pending {
		if now.rest[f.ID] {
			s.settle(ctx, f)
		}
	}
	if len(s.owed) > 0 && !s.stopping {
		s.deadline = time.After(exitsWithin) // an engine that died meanwhile tells no more of them
	}
	return true
}

// stock are the containers watched, by their ids.
type stock struct {
	running map[string]time.Time // that run, or will run again, since when
	ended   map[string]time.Time // whose end since the logs are followed has not been told yet, and when that was
	rest    map[string]bool      // all that do not run
}

func (s *session) look(ctx context.Context) (stock, error) {
	now := stock{map[string]time.Time{}, map[string]time.Time{}, map[string]bool{}}
	all, err := s.c.Containers(ctx, s.p.Name)
	if err != nil {
		return now, err
	}
	for _, c := range all {
		if !s.watched[c.Service] || c.OneOff {
			continue
		}
		if slices.Contains(liveStates, c.State) {
			now.running[c.ID] = c.Started
			continue
		}
		now.rest[c.ID] = true
		if c.Finished.After(s.began) && c.Finished.After(s.told[c.ID]) {
			now.ended[c.ID] = c.Finished
		}
	}
	return now, nil
}
