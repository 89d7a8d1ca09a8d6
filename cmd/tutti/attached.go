package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tutti/cmd/tutti/logview"
	"tutti/cmd/tutti/progress"
	"tutti/project"
	"tutti/scheduler/api"
)

// session is `up` in the foreground. Goroutines bring it log frames and the ends of verbs; everything else happens in
// loop, one thing at a time.
//
//	up posted ── frames are printed ── all containers watched have stopped ── end
//	                │ Ctrl-C, or --abort-on-container-exit
//	                └─ up cancelled, stop posted ── their exits are printed ── end
//	                        │ Ctrl-C
//	                        └─ kill posted ── end
type session struct {
	a       *app
	f       *upFlags
	c       *api.Client
	p       *project.Project
	display *progress.Display
	printer *logview.Printer

	watch *attachedWatch // of --watch; nil: none

	attach  func()          // says what is attached to; later calls do nothing
	shown   map[string]bool // services whose lines are printed
	watched map[string]bool // services whose exits count
	// The containers watched, by their ids, that run, or will run again: since when, as far as the engine has been asked.
	alive map[string]time.Time
	// Those that have ended since began while their last frames are under way, and the ends that were told.
	owed  map[string]time.Time
	told  map[string]time.Time
	began time.Time
	// Containers that have been started since, and exits that count if their containers are still there when stock is taken.
	started map[string]bool
	pending []api.LogFrame

	logs     *follower
	frames   <-chan api.LogFrame // nil at the end of the logs
	upEnd    <-chan error        // nil when the engine has done its part
	cancelUp context.CancelFunc
	stopEnd  chan error       // stop and kill
	deadline <-chan time.Time // set when up or stop has ended: how long exits are waited for

	stopping    bool
	killing     bool
	interrupted bool
	code        int  // --abort-on-container-exit, --exit-code-from
	fromSeen    bool // code is that of --exit-code-from
	err         error
}

// maxNames is how many containers of one service are named before they exist.
const maxNames = 100

// exitsWithin is how long the last lines and exits may take to come after stop or kill has ended.
const exitsWithin = 5 * time.Second

func (a *app) upAttached(ctx context.Context, f *upFlags, c *api.Client, p *project.Project, request api.UpRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{a: a, f: f, c: c, p: p, alive: map[string]time.Time{}, told: map[string]time.Time{}, started: map[string]bool{}, stopEnd: make(chan error, 2)}
	s.choose()
	var err error
	s.logs, err = followLogs(ctx, c, p.Name, api.LogOptions{Services: sortedKeys(s.watched), Tail: -1, Since: time.Now(), Follow: true, Events: true})
	if err != nil {
		return err
	}
	s.began = time.Now()
	s.frames = s.logs.ch
	s.display = a.display(ctx, "up", f.display())
	defer s.display.Close()
	if err := s.openWatch(); err != nil {
		cancel()
		s.logs.wait()
		return err
	}
	defer s.watch.close()
	upCtx, cancelUp := context.WithCancel(ctx)
	s.cancelUp = cancelUp
	upEnd := make(chan error, 1)
	s.upEnd = upEnd
	go func() { upEnd <- c.Stream(upCtx, "up", request, s.display.Event) }()
	err = s.loop(ctx)
	cancel()
	s.watch.wait()
	s.logs.wait()
	return err
}

// choose decides which services are shown and which are waited for, and prepares the printer for their names.
func (s *session) choose() {
	s.shown, s.watched = map[string]bool{}, map[string]bool{}
	color := !s.f.noColor && s.a.colorful(s.a.out)
	s.printer = logview.New(logview.Options{
		Project: s.p.Name, Out: s.a.out, Err: s.a.err, Color: color,
		Erase: s.a.colorful(s.a.out), NoPrefix: s.f.noPrefix, Timestamps: s.f.timestamps,
	})
	var names []string
	for _, name := range s.f.attachedTo(s.p) {
		s.shown[name], s.watched[name] = true, true
		service := s.p.Services[name]
		n := service.GetScale()
		if scaled, ok := s.f.Scale[name]; ok {
			n = scaled
		}
		if service.ContainerName != "" {
			names = append(names, service.ContainerName)
			continue
		}
		for i := range min(n, maxNames) {
			names = append(names, fmt.Sprintf("%s-%d", name, i+1))
		}
	}
	s.printer.Expect(names...)
	s.attach = sync.OnceFunc(func() {
		if len(names) > 0 {
			s.print(func() { fmt.Fprintln(s.a.out, "Attaching to", strings.Join(names, ", ")) })
		}
	})
	for _, name := range s.f.Services {
		s.watched[name] = true
	}
	if s.f.exitCodeFrom != "" {
		s.watched[s.f.exitCodeFrom] = true
	}
}

// loop takes things as they come until the session is over.
func (s *session) loop(ctx context.Context) error {
	for !s.over() {
		select {
		case f, ok := <-s.frames:
			if !ok {
				s.frames = nil
				s.err = errors.Join(s.err, s.logs.err)
				continue
			}
			s.frame(ctx, f)
		case err := <-s.upEnd:
			s.upEnd = nil
			s.upEnded(ctx, err)
		case err := <-s.stopEnd:
			s.stopEnded(ctx, err)
		case busy := <-s.watch.changes():
			s.watchChanged(ctx, busy)
		case err := <-s.watch.end():
			s.watchEnded(ctx, err)
		case <-s.a.signals:
			if s.interrupted && s.killing {
				return &exitError{code: exitInterrupted}
			}
			s.interrupt(ctx)
		case <-s.deadline:
			s.owed = nil
			if s.stopping {
				s.alive = nil
			}
		}
	}
	s.print(s.printer.Flush)
	return s.result()
}

// over says whether there is nothing left to wait for.
func (s *session) over() bool {
	switch {
	case s.upEnd != nil:
		return false
	case s.stopping && s.deadline == nil, s.watch.isBusy():
		return false
	case s.err != nil && !s.stopping:
		return true // `up` has failed: what runs goes on running, as docker compose leaves it
	}
	return len(s.alive) == 0 && len(s.owed) == 0 || s.frames == nil
}

func (s *session) result() error {
	switch {
	case s.interrupted && s.err != nil:
		return &exitError{exitInterrupted, s.err.Error()}
	case s.interrupted:
		return &exitError{code: exitInterrupted}
	case s.err != nil:
		return s.err
	case s.code != 0:
		return &exitError{code: s.code}
	}
	return nil
}

// print writes lines, above the progress block while there is one.
func (s *session) print(write func()) { s.display.Above(write) }

func (s *session) frame(ctx context.Context, f api.LogFrame) {
	if f.Event == "ended" { // upEnded asks for what counts
		return
	}
	s.attach()
	switch f.Event {
	case "":
		if s.shown[f.Service] {
			s.print(func() { s.printer.Line(f) })
		}
	case "hook":
		if s.shown[f.Service] {
			s.print(func() { s.printer.Hook(f) })
		}
	case "start":
		s.started[f.ID] = true
		if _, known := s.alive[f.ID]; s.watched[f.Service] && s.alive != nil && !known {
			s.alive[f.ID] = time.Time{}
		}
	case "exit":
		if s.watched[f.Service] {
			s.exited(ctx, f)
		}
	case "removed":
		delete(s.alive, f.ID)
		delete(s.owed, f.ID)
	}
}

// upEnded takes stock: from here on the containers that run are those to wait for.
func (s *session) upEnded(ctx context.Context, err error) {
	s.display.Close()
	if s.stopping { // it was called off
		s.post(ctx)
		return
	}
	if err != nil {
		s.err = errors.Join(s.err, err)
		return
	}
	s.attach()
	if s.takeStock(ctx) {
		s.beginWatch(ctx)
	}
}

// interrupt takes one Ctrl-C: the first stops the project, the second kills it.
func (s *session) interrupt(ctx context.Context) {
	s.interrupted = true
	switch {
	case !s.stopping:
		s.stop(ctx, "Gracefully stopping... (press Ctrl+C again to force)")
	case s.upEnd == nil && !s.watch.runs():
		s.killing = true
		s.post(ctx)
	default:
		s.killing = true // at once when `up` has ended
	}
}

// stop ends everything in good order. An `up` that is still under way is called off first, so that nothing is started
// behind the back of stop.
func (s *session) stop(ctx context.Context, why string) {
	s.stopping = true
	s.print(func() { fmt.Fprintln(s.a.err, why) })
	if s.upEnd != nil {
		s.cancelUp()
		return // upEnded goes on
	}
	if s.watch.stop() {
		return // watchEnded goes on
	}
	s.post(ctx)
}

// post sends stop, or kill, to the engine.
func (s *session) post(ctx context.Context) {
	verb, request := "stop", api.ServicesRequest{Name: s.p.Name, Services: s.f.Services, Timeout: s.f.Timeout}
	if s.killing {
		verb, request.Timeout, request.Signal = "kill", nil, "SIGKILL"
	}
	d := s.a.display(ctx, verb, displayOptions{noBlock: true}) // it would be torn apart by the containers' last lines
	go func() {
		defer d.Close()
		s.stopEnd <- s.c.Stream(ctx, verb, request, func(e api.Event) { s.print(func() { d.Event(e) }) })
	}()
}

// stopEnded gives the exits of what has been stopped the time to come; what still runs is not waited for.
func (s *session) stopEnded(ctx context.Context, err error) {
	if err != nil {
		s.err = errors.Join(s.err, err)
	}
	s.deadline = time.After(exitsWithin)
	now, err := s.look(ctx)
	if err != nil {
		s.err = errors.Join(s.err, err)
		return
	}
	for id := range now.running {
		delete(s.alive, id)
	}
}
