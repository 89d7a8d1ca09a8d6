package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tutti/cmd/tutti/detach"
	"tutti/cmd/tutti/progress"
	"tutti/scheduler/api"
)

// link is this program as one end of a process: a session of run, attach or exec from its beginning to its end.
//
//	session posted ── events are shown ── begun: terminal raw, keys and signals go to the process ── end: exit code
//	                                        │ detach keys, or the end of this program: the process goes on
//	                                        └ the engine dies: attached again where it broke off (containers)
type link struct {
	a       *app
	c       *api.Client
	object  string // "containers" or "exec", of docker's requests beside the session
	stdin   bool   // ours goes to the process
	tty     bool
	proxy   bool   // signals go to the process
	repaint bool   // the program is to draw its screen again
	keys    []byte // that detach, on a terminal; nil: none
	display *progress.Display

	begun    api.Begun
	got      api.Resume
	detached chan error    // the keys were typed, or a signal says to go
	started  chan struct{} // closed when the process runs
	ready    chan struct{} // closed when our terminal is the process's

	mu      sync.Mutex // guards what follows
	session *api.Session
	inEnded bool
}

// Errors that end a link before the process does.
var (
	errDetached   = errors.New("read escape sequence")
	errForcedExit = errors.New("got 3 SIGTERM/SIGINTs, forcefully exiting")
)

// run posts the request and carries everything until the end of the process. It returns its exit code; errors of the
// engine's come with the code that says what failed.
func (l *link) run(ctx context.Context, verb string, request any) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := l.open(ctx, verb, request)
	if err != nil {
		return exitOwn, err
	}
	defer func() { l.current().Close() }()
	l.detached, l.started, l.ready = make(chan error, 1), make(chan struct{}), make(chan struct{})
	ended := make(chan outcome, 1)
	go func() { ended <- l.receive(ctx, s) }()
	select {
	case o := <-ended:
		return o.code, o.err
	case <-l.a.signals: // nothing runs yet: the engine calls off what it has begun
		return exitInterrupted, &exitError{code: exitInterrupted}
	case <-l.started:
		return l.connected(ctx, ended)
	}
}

// exitOwn is what tutti's own failures end with, as docker compose's do.
const exitOwn = 1

// outcome is how a session ended.
type outcome struct {
	code int
	err  error
}

func (l *link) open(ctx context.Context, verb string, request any) (*api.Session, error) {
	s, err := l.c.Session(ctx, verb, request)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
	return s, nil
}

func (l *link) current() *api.Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// connected is the time in which the process runs and has our terminal.
func (l *link) connected(ctx context.Context, ended <-chan outcome) (int, error) {
	restore, err := l.raw()
	if err != nil {
		return exitOwn, err
	}
	defer restore()
	close(l.ready)
	if l.stdin && l.begun.Stdin {
		go l.typed() // a read from a terminal cannot be called off: it ends with this program
	}
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	if l.tty {
		beside.Go(func() { l.followSize(ctx) })
	}
	beside.Go(func() { l.forward(ctx) })
	select {
	case o := <-ended:
		return o.code, o.err
	case err := <-l.detached:
		return 0, err
	}
}

// receive takes what the engine sends until the end.
func (l *link) receive(ctx context.Context, s *api.Session) outcome {
	for {
		kind, b, err := s.Next()
		switch {
		case errors.Is(err, api.ErrCutOff) && ctx.Err() == nil && l.begun.Run != 0:
			if s, err = l.resume(ctx); err != nil {
				return outcome{exitOwn, fmt.Errorf("%w; the container goes on", err)}
			}
			continue
		case err != nil:
			return outcome{exitOwn, err}
		}
		switch kind {
		case api.FrameStdout:
			l.got.Stdout += int64(len(b))
			_, err = l.a.out.Write(b)
		case api.FrameStderr:
			l.got.Stderr += int64(len(b))
			_, err = l.a.err.Write(b)
		case api.FrameEvent:
			err = l.event(b)
		case api.FrameBegun:
			err = l.begin(ctx, b)
		case api.FrameEnd:
			l.display.Close()
			return endOf(b)
		}
		if err != nil {
			return outcome{exitOwn, err}
		}
	}
}

// begin tells that the process runs. What it prints is for a terminal that is its own.
func (l *link) begin(ctx context.Context, b []byte) error {
	if err := json.Unmarshal(b, &l.begun); err != nil {
		return err
	}
	l.got.From, l.got.Begun = l.begun.From, l.begun.Run
	l.display.Close()
	close(l.started)
	select {
	case <-l.ready:
	case <-ctx.Done():
	}
	return nil
}

func (l *link) event(b []byte) error {
	var e api.Event
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	l.display.Event(e)
	return nil
}

func endOf(b []byte) outcome {
	var e api.End
	if err := json.Unmarshal(b, &e); err != nil {
		return outcome{exitOwn, err}
	}
	if e.Error != "" {
		return outcome{e.Code, errors.New(e.Error)}
	}
	return outcome{code: e.Code}
}

// resumeTries bounds how many engines may die in a row.
const resumeTries = 20

// resume attaches again after the engine's death.
func (l *link) resume(ctx context.Context) (*api.Session, error) {
	before, got := l.begun, l.got
	var s *api.Session
	var kind api.FrameKind
	var b []byte
	err := api.ErrCutOff
	for try := 0; errors.Is(err, api.ErrCutOff) && try < resumeTries; try++ { // the next engine may die, too
		_ = l.current().Close()
		if s, err = l.open(ctx, "attach", api.AttachRequest{Container: before.ID, Stdin: l.stdin, Resume: &got}); err == nil {
			kind, b, err = s.Next()
		}
	}
	switch {
	case err != nil:
		return nil, err
	case kind == api.FrameEnd:
		return nil, endOf(b).err
	}
	l.mu.Lock()
	ended := l.inEnded
	l.mu.Unlock()
	if ended {
		_ = s.EndStdin()
	}
	return s, nil
}

// typed sends what is typed, or piped in, until its end or the keys that detach.
func (l *link) typed() {
	detector := detach.NewDetector(l.keys)
	b := make([]byte, 64<<10)
	for {
		n, err := l.a.in.Read(b)
		pass, leave := detector.Feed(b[:n])
		if len(pass) > 0 {
			_, _ = l.current().Stdin().Write(pass) // the process has ended, or the engine: the receiving side knows
		}
		if leave {
			l.leave(errDetached)
			return
		}
		if err != nil {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inEnded = true
	_ = l.session.EndStdin()
}

func (l *link) leave(err error) {
	select {
	case l.detached <- err:
	default:
	}
}

// raw hands every key to the process: Ctrl-C is its business now.
func (l *link) raw() (restore func(), err error) {
	fd, ok := terminal(l.a.in)
	if !ok || !l.tty || !l.stdin {
		return func() {}, nil
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	return func() { term.Restore(fd, state) }, nil //nolint:errcheck // nothing else would help
}

// followSize tells the process when the size of the window changes. It knows the size from its start.
func (l *link) followSize(ctx context.Context) {
	fd, ok := terminal(l.a.out)
	if !ok {
		return
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	defer signal.Stop(changes)
	if l.repaint { // a size that is no change would not make the program draw
		w, h := terminalSize(fd)
		l.resize(ctx, w+1, h+1)
		l.resize(ctx, w, h)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
			w, h := terminalSize(fd)
			l.resize(ctx, w, h)
		}
	}
}

func (l *link) resize(ctx context.Context, w, h int) {
	// A process that has just ended cannot be resized, and nothing is lost.
	l.c.Call(ctx, http.MethodPost, fmt.Sprintf("/%s/%s/resize?h=%d&w=%d", l.object, l.begun.ID, h, w), nil, nil) //nolint:errcheck // see above
}

// proxied are the signals that go to the process. SIGWINCH is none of them: it means the window, and to some programs
// that they shall stop; nor are those of job control, which are about this program.
var proxied = []os.Signal{
	syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGIO,
}

// forcedAfter so many SIGINT or SIGTERM that did not end the process, this program ends without it.
const forcedAfter = 3

// forward sends signals to the process, or ends this program by them.
func (l *link) forward(ctx context.Context) {
	others := make(chan os.Signal, 32)
	signal.Notify(others, proxied...)
	defer signal.Stop(others)
	asked := 0
	for {
		var s os.Signal
		select {
		case <-ctx.Done():
			return
		case s = <-l.a.signals:
			asked++
		case s = <-others:
		}
		sig, ok := s.(syscall.Signal)
		switch {
		case !ok:
		case !l.proxy:
			l.leave(&exitError{code: 128 + int(sig)})
			return
		case asked >= forcedAfter:
			l.leave(errForcedExit)
			return
		default:
			// One that has just ended takes no signal.
			l.c.Call(ctx, http.MethodPost, "/containers/"+l.begun.ID+"/kill?signal="+unix.SignalName(sig), nil, nil) //nolint:errcheck // see above
		}
	}
}
