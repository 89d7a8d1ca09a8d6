package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/keeper"
	"tutti/scheduler/container"
	"tutti/scheduler/layout"
)

// linger is how long an engine with nothing to do waits for the next command.
const linger = 3 * time.Second

// Main is the engine's process: it opens the state, listens on the socket until there is nothing left to do, or it is told
// to stop, and returns. The keeper starts it; handler makes the HTTP handler of an engine.
func Main(ctx context.Context, root string, handler func(*Engine) http.Handler) (err error) {
	defer func() {
		if err != nil {
			keeper.Ready(err)
		}
	}()
	// Collect seldom while there is work: what is left is given back as soon as it is quiet, see economize.
	debug.SetGCPercent(200)
	paths, err := layout.New(root)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	slog.SetDefault(log)
	k, err := keeper.Connect()
	if err != nil {
		return fmt.Errorf("connect to the keeper: %w", err)
	}
	setOOMScore()
	go bequeath(ctx, k, startOptions(paths), log) // ends with the process
	if err := os.MkdirAll(paths.Run, 0o700); err != nil {
		return err
	}
	unlock, err := lockRoot(ctx, paths)
	if err != nil {
		return err
	}
	defer unlock()
	e, err := Open(ctx, paths, k, log)
	if err != nil {
		return err
	}
	return errors.Join(e.serve(ctx, handler(e)), e.Close(context.WithoutCancel(ctx)), e.cleanUp())
}

// lockRoot makes sure that only one engine works on a state root, whoever started it.
func lockRoot(ctx context.Context, p layout.Paths) (unlock func(), err error) {
	return lockRootFor(ctx, p, lockRootWait)
}

func lockRootFor(ctx context.Context, p layout.Paths, wait time.Duration) (unlock func(), err error) {
	if err := os.MkdirAll(p.Root, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.Root+"/engine.lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flockSoon(ctx, f, wait); err != nil {
		return nil, errors.Join(fmt.Errorf("another engine works on %s: %w", p.Root, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// serve answers requests until the engine has been idle for a while or ctx is done.
func (e *Engine) serve(ctx context.Context, h http.Handler) error {
	if err := os.Remove(e.Paths.Socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", e.Paths.Socket())
	if err != nil {
		return fmt.Errorf("listen on the engine's socket: %w", err)
	}
	if err := os.Chmod(e.Paths.Socket(), 0o660); err != nil { //nolint:gosec // root's group may use it
		return err
	}
	srv := &http.Server{Handler: e.counted(h), BaseContext: func(net.Listener) context.Context { return e.ctx }, ConnContext: withConn, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	keeper.Ready(nil)
	e.wg.Go(e.economize)
	idle, rests := make(chan struct{}), false
	go func() { e.busy.waitIdle(ctx.Done(), linger); close(idle) }()
	select {
	case err := <-failed:
		return err
	case <-e.replaced:
		e.makeWay(ctx, srv)
	case <-ctx.Done():
		if n := e.alive(); n > 0 {
			// Status 0 would tell the keeper that nothing is left to keep.
			return fmt.Errorf("stopped while %d containers run", n)
		}
		rests = true
	case <-idle:
		rests = true
	}
	// A client that comes from here on is to start the next engine: the keeper must know before the socket is closed.
	if err := e.keeper.Stopping(); err != nil {
		e.Log.Warn("tell the keeper", "error", err)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = srv.Shutdown(closing)
	if rests && err == nil { // nobody asks for it any more
		err = e.dropUnusedBridge(closing)
	}
	return err
}

// alive counts the containers that run.
func (e *Engine) alive() int {
	n := 0
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		if u.Snapshot().Alive() {
			n++
		}
	}
	return n
}

// counted keeps the engine alive while a request is served.
func (e *Engine) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer e.busy.begin()()
		e.serving.Add(1)
		defer e.serving.Add(-1)
		h.ServeHTTP(w, r)
		e.wasAsked()
	})
}

// cleanUp removes what only a working engine needs, once no container is left: its cgroups and run folders.
func (e *Engine) cleanUp() error {
	e.mu.Lock()
	left := len(e.units)
	e.mu.Unlock()
	if left > 0 {
		return nil
	}
	errs := []error{e.runtime.RemoveParent()}
	for _, d := range []string{e.Paths.Runtime(), e.Paths.Rootfs(), e.Paths.Files()} {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}
