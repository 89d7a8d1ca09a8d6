package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/initbin"
	"tutti/runtime/keeper/wire"
)

// StartOptions says what to keep running, and where.
type StartOptions struct {
	RunDir     string   // made with mode 0700 if missing; one keeper per folder
	EngineArgv []string // absolute path of the engine's program and its arguments
	EngineEnv  []string // the environment of the keeper and the engine
	LogFile    string   // receives the engine's standard output and error; its folder is made if missing
}

// EngineError is the engine's own account of why it did not start.
type EngineError struct{ Text string }

func (e *EngineError) Error() string { return "the engine did not start: " + e.Text }

const (
	lockFile      = "start.lock"
	lockInterval  = 2 * time.Millisecond // the lock is held for the time it takes to start the keeper
	startAttempts = 4                    // a keeper that is just exiting makes one more necessary
)

var errKeeperEnded = errors.New("the keeper ended before the engine was ready")

// Start makes sure that a keeper runs for o.RunDir and returns when its engine is ready, or with an
// *EngineError. Callers in many processes at once start one keeper and all wait for the same engine.
func Start(ctx context.Context, o StartOptions) error {
	program, err := initbin.Program()
	if err != nil {
		return err
	}
	return start(ctx, o, func() (*os.File, error) { return initbin.Seal("tutti-keeper", program) })
}

// start is Start with the keeper's program as a parameter.
func start(ctx context.Context, o StartOptions, program func() (*os.File, error)) error {
	if len(o.EngineArgv) == 0 || !filepath.IsAbs(o.EngineArgv[0]) || !filepath.IsAbs(o.LogFile) {
		return fmt.Errorf("start the engine: absolute paths are needed for its program %q and log %q", o.EngineArgv, o.LogFile)
	}
	for _, dir := range []string{o.RunDir, filepath.Dir(o.LogFile)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("start the engine: %w", err)
		}
	}
	var err error
	for range startAttempts {
		var conn net.Conn
		conn, err = join(ctx, o, program)
		if err != nil {
			return fmt.Errorf("start the keeper: %w", err)
		}
		if err = verdict(ctx, conn); !errors.Is(err, errKeeperEnded) {
			return err
		}
	}
	return fmt.Errorf("start the engine: %w; see %s", err, o.LogFile)
}

// verdict waits for the keeper's word about the engine.
func verdict(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if ctx.Err() != nil {
		return fmt.Errorf("wait for the engine: %w", ctx.Err())
	}
	switch {
	case len(text) > 0 && text[0] == wire.Ready:
		return nil
	case len(text) > 0 && text[0] == wire.Failed:
		return &EngineError{Text: string(text[1:])}
	case err != nil && !errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("wait for the engine: %w", err)
	}
	return errKeeperEnded
}

// join connects to the control socket of the folder's keeper, after starting one if there is none.
func join(ctx context.Context, o StartOptions, program func() (*os.File, error)) (net.Conn, error) {
	return joinWith(ctx, o, func(listener *net.UnixListener) error { return launch(o, listener, nil, program) }, nil)
}

// joinWith is join with what starts the keeper as a parameter, and an error for the case that one runs already. The
// socket is bound and listening before the keeper runs, so that whoever finds it dead may replace it: all of this
// happens under the folder's lock.
func joinWith(ctx context.Context, o StartOptions, launch func(*net.UnixListener) error, runs error) (net.Conn, error) {
	dir, err := os.Open(o.RunDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	unlock, err := lock(ctx, filepath.Join(o.RunDir, lockFile))
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Through the open folder, for sun_path ends after 107 bytes (unix(7)).
	path := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + wire.ControlSocket
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil && runs != nil {
		return nil, errors.Join(runs, conn.Close())
	}
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
		return conn, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	conn, err = dialer.DialContext(ctx, "unix", path) // before the keeper can be gone again
	if err != nil {
		return nil, err
	}
	if err := launch(listener); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// launch runs the program, which makes itself a daemon, and waits for its first stage. legacy is the keeper's end of the
// socket on which it is told what a dead one had, or nil.
func launch(o StartOptions, listener *net.UnixListener, legacy *os.File, program func() (*os.File, error)) error {
	exe, err := program()
	if err != nil {
		return err
	}
	defer exe.Close()
	socket, err := listener.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	log, err := os.OpenFile(o.LogFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	argv := append([]string{"tutti-keeper", stage(legacy), o.LogFile}, o.EngineArgv...)
	files := []*os.File{null, log, log, socket}
	if legacy != nil {
		files = append(files, legacy)
	}
	// By this process's pid: in the child the number may be one of those assigned to Files.
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), exe.Fd())
	p, err := os.StartProcess(path, argv, &os.ProcAttr{
		Dir: "/", Env: o.EngineEnv, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err != nil {
		return err
	}
	if !state.Success() {
		return fmt.Errorf("%s; see %s", state, o.LogFile)
	}
	return nil
}

// lock takes the exclusive flock(2) of a file and returns what gives it back.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}
