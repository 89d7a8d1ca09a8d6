package main

import (
	"context"
	"fmt"

	"tutti/cmd/tutti/logview"
	"tutti/project/watching"
)

// attachedWatch is --watch of `up` in the foreground. It begins when `up` has done its part, and ends before anything is
// stopped. While it changes containers, their ends are not the session's. A nil one does nothing.
type attachedWatch struct {
	session *watchSession
	busyCh  chan bool
	endCh   chan error
	cancel  context.CancelFunc // nil: it does not run
	busy    bool
}

// openWatch begins to look at the files: what is changed while `up` is under way counts.
func (s *session) openWatch() error {
	if !s.f.watch {
		return nil
	}
	set, err := watching.New(s.p, s.f.Services)
	if err != nil {
		return err
	}
	w := &attachedWatch{busyCh: make(chan bool), endCh: make(chan error, 1)}
	mark := "        " + logview.WatchMark
	if s.a.colorful(s.a.out) && !s.f.noColor {
		mark = "        \x1b[92m" + logview.WatchMark + "\x1b[0m"
	}
	w.session = newWatchSession(s.a, s.c, s.p, set, watchOptions{
		services: s.f.Services, quiet: s.f.quietBuild, parallel: s.a.parallel, scale: s.f.Scale, busy: w.busyCh,
		say:   func(text string) { s.print(func() { fmt.Fprintln(s.a.out, mark+text) }) },
		above: s.print,
	})
	if err := w.session.open(); err != nil {
		return err
	}
	s.watch = w
	return nil
}

func (s *session) beginWatch(ctx context.Context) {
	w := s.watch
	if w == nil || w.cancel != nil || s.stopping {
		return
	}
	ctx, w.cancel = context.WithCancel(ctx)
	go func() { w.endCh <- w.session.run(ctx) }()
}

// watchChanged takes stock of the containers when the watch has changed some.
func (s *session) watchChanged(ctx context.Context, busy bool) {
	s.watch.busy = busy
	if busy || s.stopping {
		return
	}
	s.takeStock(ctx)
}

// watchEnded goes on with what the end of the watch was waited for.
func (s *session) watchEnded(ctx context.Context, err error) {
	s.watch.cancel, s.watch.busy = nil, false
	switch {
	case s.stopping:
		s.post(ctx)
	case err != nil && ctx.Err() == nil:
		s.print(func() { s.a.warn(err.Error()) })
	}
}

func (w *attachedWatch) changes() <-chan bool {
	if w == nil {
		return nil
	}
	return w.busyCh
}

func (w *attachedWatch) end() <-chan error {
	if w == nil {
		return nil
	}
	return w.endCh
}

func (w *attachedWatch) isBusy() bool { return w != nil && w.busy }
func (w *attachedWatch) runs() bool   { return w != nil && w.cancel != nil }

// stop asks the watch to end and says whether it runs.
func (w *attachedWatch) stop() bool {
	if !w.runs() {
		return false
	}
	w.cancel()
	return true
}

// wait returns when the watch has ended, whose context has.
func (w *attachedWatch) wait() {
	if w.runs() {
		<-w.endCh
	}
}

func (w *attachedWatch) close() {
	if w != nil {
		w.session.close()
	}
}
