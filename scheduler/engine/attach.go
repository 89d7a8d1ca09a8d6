package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"tutti/runtime"
	"tutti/runtime/logs"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// life is one run of a container's process, as those see it who are attached to it.
type life struct {
	u       *Unit
	console *os.File // nil without a terminal
	in      *input   // nil: its standard input is /dev/null
	begun   int64    // see api.Begun

	ended chan struct{} // closed when what follows is set
	code  int
	end   logs.Position // everything before is this run's output
}

// captured is where a container's output goes: its log, or with the driver "none" a log that keeps nothing.
func (u *Unit) captured() *logs.File {
	if u.Log != nil {
		return u.Log
	}
	return u.tap
}

// beginLife makes a container that has been started known to those who are, or come to be, attached to it.
func (u *Unit) beginLife(p *runtime.Container, in *input) {
	if in == nil && u.Config.TTY && u.Config.StdinOpen {
		in = newInput(nil)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.life = &life{u: u, console: p.Console, in: in, begun: u.state.Started.UnixNano(), ended: make(chan struct{})}
	close(u.changed)
	u.changed = make(chan struct{})
}

// endLife tells everybody who is attached how the run has ended. Its output is in the log by now.
func (e *Engine) endLife(u *Unit, code int, end logs.Position) {
	l := u.latestLife()
	if l == nil {
		return
	}
	if l.in != nil {
		e.endInput(u, l.in)
	}
	l.code, l.end = code, end
	close(l.ended)
}

// latestLife is the present run of a container, or its last one in this engine; nil when there was none.
func (u *Unit) latestLife() *life {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.life
}

// lifeAfter waits until a container has been started that had the run before as its last one, and returns the new run.
func (u *Unit) lifeAfter(ctx context.Context, before *life) (*life, error) {
	for {
		u.mu.Lock()
		l, changed, removed := u.life, u.changed, u.removed
		u.mu.Unlock()
		switch {
		case l != before:
			return l, nil
		case removed:
			return nil, fmt.Errorf("%w: container %s has been removed", ErrConflict, u.Name())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// attachment is one client that gets a container's output, from the moment on at which it was made. It never holds the
// container up: what the client does not take waits in the log.
type attachment struct {
	e   *Engine
	u   *Unit
	sub *logs.Subscription
}

// attach begins an attachment at the present end of the output, or at its beginning.
func (e *Engine) attach(u *Unit, whole bool) (*attachment, error) {
	var sub *logs.Subscription
	var err error
	if whole {
		sub, err = u.captured().SubscribeAt(logs.Position{})
	} else {
		sub, err = u.captured().Subscribe()
	}
	if err != nil {
		return nil, err
	}
	return &attachment{e: e, u: u, sub: sub}, nil
}

// ErrDetached means that a client has gone before the container it was attached to ended.
var ErrDetached = errors.New("detached")

// stream carries output and input until the run l ends, and returns its exit code. A client that goes, or ctx, ends it with
// ErrDetached.
func (a *attachment) stream(ctx context.Context, l *life, s Streams) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.Stdin != nil {
		go a.e.feed(ctx, l, s.Stdin) // ends with ctx and the client's connection
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-l.ended:
			a.sub.Until(l.end)
		case <-stop:
		}
	}()
	err := a.sub.Run(ctx, func(p logs.Entry) error {
		to := s.Stdout
		if p.Stream == logs.Stderr {
			to = s.Stderr
		}
		if to == nil {
			return nil
		}
		_, err := to.Write(p.Line)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDetached, err)
	}
	select {
	case <-l.ended:
		return l.code, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrDetached, ctx.Err())
	}
}

// AttachTo are the choices of Attach.
type AttachTo struct {
	Logs   bool        // the output so far comes first
	Waits  bool        // a container that does not run is waited for; else that is an error
	Resume *api.Resume // go on where an earlier engine's attachment was cut off
	Begun  func(api.Begun)
}

// Attach connects a client with a container's streams until the container ends, and returns its exit code. Any number of
// clients may be attached to one container; none of them can hold it up.
func (e *Engine) Attach(ctx context.Context, name string, o AttachTo, s Streams) (int, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return 0, err
	}
	if o.Resume != nil {
		return e.resumeAttach(ctx, u, o, s)
	}
	l := u.latestLife()
	if err := attachable(u); err != nil || l == nil {
		if !o.Waits {
			return 0, err
		}
	} else {
		o.Waits = false
	}
	a, err := e.attach(u, o.Logs)
	if err != nil {
		return 0, err
	}
	o.Begun(u.begun(a, l)) // from here on the client has been answered
	if o.Waits {
		if l, err = u.lifeAfter(ctx, l); err != nil {
			a.sub.Close()
			return 0, err
		}
	}
	return a.stream(ctx, l, s)
}

// attachable says, in docker's words, why nobody can be attached to a container as it is.
func attachable(u *Unit) error {
	switch s := u.Snapshot(); s.Status {
	case container.Running:
		return nil
	case container.Paused:
		return fmt.Errorf("%w: cannot attach to a paused container, unpause it first", ErrConflict)
	case container.Restarting:
		return fmt.Errorf("%w: cannot attach to a restarting container, wait until it is running", ErrConflict)
	case container.Created, container.Exited, container.Removing, container.Dead:
	}
	return fmt.Errorf("%w: cannot attach to a stopped container, start it first", ErrConflict)
}

// begun describes the beginning of an attachment; without a run, the container has not run yet.
func (u *Unit) begun(a *attachment, l *life) api.Begun {
	p := a.sub.Start()
	b := api.Begun{ID: u.ID, Name: u.Name(), TTY: u.Config.TTY, Stdin: u.Config.StdinOpen, From: api.LogPosition{Inode: p.Inode, Offset: p.Offset}}
	if l != nil {
		b.Run = l.begun
	}
	return b
}

// resumeAttach goes on with an attachment that the death of an engine has cut off, also when the container has ended since.
func (e *Engine) resumeAttach(ctx context.Context, u *Unit, o AttachTo, s Streams) (int, error) {
	defer u.returned()
	r := o.Resume
	sub, err := u.captured().SubscribeAt(logs.Position{Inode: r.From.Inode, Offset: r.From.Offset})
	if errors.Is(err, logs.ErrRotated) {
		sub, err = u.captured().Subscribe() // with the driver "none", and after a rotation, what is gone is gone
		r = &api.Resume{From: r.From, Begun: r.Begun}
	}
	if err != nil {
		return 0, err
	}
	a := &attachment{e: e, u: u, sub: sub}
	s.Stdout, s.Stderr = &skipping{w: s.Stdout, n: r.Stdout}, &skipping{w: s.Stderr, n: r.Stderr}
	l, err := u.lifeOf(r.Begun)
	if err != nil {
		sub.Close()
		return 0, err
	}
	o.Begun(u.begun(a, l))
	return a.stream(ctx, l, s)
}

// lifeOf is the run that began at a time, which may be over.
func (u *Unit) lifeOf(begun int64) (*life, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.Started.UnixNano() != begun {
		return nil, fmt.Errorf("%w: container %s has been started again meanwhile", ErrConflict, u.Name())
	}
	if u.life != nil && u.life.begun == begun {
		return u.life, nil
	}
	l := &life{u: u, begun: begun, code: u.state.ExitCode, end: u.captured().End(), ended: make(chan struct{})}
	close(l.ended)
	return l, nil
}

// skipping drops the first n bytes that are written.
type skipping struct {
	w io.Writer
	n int64
}

func (s *skipping) Write(b []byte) (int, error) {
	skip := min(s.n, int64(len(b)))
	s.n -= skip
	if rest := b[skip:]; len(rest) > 0 {
		if _, err := s.w.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Inspect is what a container was asked to be, and how it is.
func (e *Engine) Inspect(name string) (container.Config, container.State, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return container.Config{}, container.State{}, err
	}
	return *u.Now(), u.Snapshot(), nil
}

// HasTerminal says whether a container's streams are a terminal's.
func (e *Engine) HasTerminal(name string) (bool, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return false, err
	}
	return u.Config.TTY, nil
}

// ResizeContainer sets the size of a container's terminal, in characters.
func (e *Engine) ResizeContainer(ctx context.Context, name string, width, height uint16) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	p, err := u.Process(ctx)
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("%w: container %s is not running", ErrConflict, u.Name())
	}
	return p.Resize(width, height)
}
