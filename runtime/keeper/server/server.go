// Package server is the keeper process: parent and subreaper of the engine and of every container, so that an
// engine that dies loses neither exit statuses nor open files.
//
// It has one loop and one state, no locks and hardly any imports: it is linked into the tiny container init and
// should cost two or three megabytes. The loop waits for
//
//	a signal        SIGCHLD: reap, remember the exits of registered processes, restart a dead engine;
//	                SIGTERM: pass it to the engine, and exit with it
//	the socketpair  requests of the engine (package wire)
//	control socket  starters that want to know when the engine is ready
//	pidfds          the ends of processes that an earlier keeper was the parent of (stranger.go)
//
// All requests that a dead engine had sent are handled before its successor is started with a socketpair of
// its own, so nothing is lost and nothing is half done.
//
// The keeper makes itself, and thereby the engine, hard to kill for the out-of-memory killer and raises their
// limit of open files. Both are inherited by containers unless their init sets them: it has to write
// oom_score_adj in every container, and RLIMIT_NOFILE where the container asks for one.
package server

import (
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

// keeper is the state of the process; only the loop touches it, but for terminate.
type keeper struct {
	table     table
	conn      *conn
	engine    engine
	listener  int
	waiters   waiters
	wake      int         // eventfd: a signal has come
	terminate atomic.Bool // SIGTERM has come
}

// run keeps an engine running and returns the keeper's exit code. legacy is the socket on which an engine whose keeper
// has died hands over what that had; -1: there is none.
func run(listener, legacy int, logFile string, argv []string) int {
	k := &keeper{table: newTable(), conn: newConn(-1), listener: listener}
	k.engine.argv, k.engine.logFile = argv, logFile
	if err := k.watchSignals(); err != nil {
		k.waiters.accept(listener)
		k.waiters.answer(wire.Failed, "keeper: "+err.Error())
		return 1
	}
	if legacy >= 0 {
		k.inherit(legacy)
	}
	for {
		if k.engine.pid == 0 && !time.Now().Before(k.engine.restart) {
			if err := k.startEngine(); err != nil {
				if done, code := k.startFailed(err.Error()); done {
					return code
				}
			}
		}
		if done, code := k.step(); done {
			return code
		}
	}
}

// step waits for something to happen and handles it.
func (k *keeper) step() (done bool, code int) {
	events := unix.POLLIN
	if len(k.conn.out) > 0 {
		events |= unix.POLLOUT
	}
	if len(k.conn.out) >= queueLimit {
		events = unix.POLLOUT
	}
	fds := []unix.PollFd{
		{Fd: int32(k.wake), Events: unix.POLLIN},
		{Fd: int32(k.listener), Events: unix.POLLIN},
		{Fd: int32(k.conn.fd), Events: int16(events)},
	}
	strange := k.table.strange
	for _, e := range strange {
		fds = append(fds, unix.PollFd{Fd: int32(e.stranger.pidfd), Events: unix.POLLIN})
	}
	if _, err := unix.Poll(fds, k.timeout()); err != nil {
		return false, 0 // EINTR: the signal has set wake
	}
	// Before the requests, which change the list.
	for i, e := range slices.Clone(strange) {
		if fds[3+i].Revents != 0 {
			k.strangerEnded(e)
		}
	}
	if fds[2].Revents != 0 {
		k.serveConn()
	}
	if fds[1].Revents != 0 {
		k.waiters.accept(k.listener)
	}
	if fds[0].Revents != 0 {
		if done, code = k.signalled(); done {
			return done, code
		}
	}
	k.answerIfReady()
	k.conn.flush()
	return false, 0
}

// timeout returns the milliseconds until the engine is due to be started, -1 while it runs.
func (k *keeper) timeout() int {
	if k.engine.pid != 0 {
		return -1
	}
	return int(max(0, time.Until(k.engine.restart)+time.Millisecond-1) / time.Millisecond)
}

// drain handles what a dead engine had sent and closes its socket. Answers are of no use any more.
func (k *keeper) drain() {
	for k.conn.fd >= 0 {
		m, fds, ok := k.conn.receive()
		if !ok {
			break
		}
		k.handle(m, fds)
	}
	k.conn.hangUp()
}

// watchSignals turns signals into readiness of wake. They are caught, not ignored, for an ignored signal would
// stay ignored in the engine.
func (k *keeper) watchSignals() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	k.wake = fd
	signals := make(chan os.Signal, 16)
	signal.Notify(signals) // all: none may end what has something to keep
	go func() {            // lives as long as the process
		one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
		for s := range signals {
			if s == unix.SIGTERM || s == unix.SIGINT {
				k.terminate.Store(true)
			}
			_, _ = unix.Write(fd, one)
		}
	}()
	return nil
}

// signalled reaps every child that has ended and passes on a request to stop. WALL: nothing is assumed about
// the exit signal with which the engine cloned a container.
func (k *keeper) signalled() (done bool, code int) {
	var count [8]byte
	_, _ = unix.Read(k.wake, count[:])
	if k.terminate.Swap(false) {
		k.engine.stopping = true
		if k.engine.pid == 0 {
			return true, 0
		}
		_ = unix.Kill(k.engine.pid, unix.SIGTERM)
	}
	var engineStatus *unix.WaitStatus
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG|unix.WALL|unix.WUNTRACED, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		if ws.Stopped() {
			k.stopped(pid, ws)
			continue
		}
		if pid == k.engine.pid {
			engineStatus = &ws
			continue
		}
		if e := k.table.reaped(pid, endOf(ws)); e != nil {
			k.tellExit(e)
		}
	}
	if engineStatus != nil {
		return k.engineDied(*engineStatus)
	}
	return false, 0
}

// stopped wakes an engine that somebody has stopped: nobody would answer, restart a container or read its output. A
// container may be stopped as its user likes.
func (k *keeper) stopped(pid int, ws unix.WaitStatus) {
	if pid != k.engine.pid {
		return
	}
	say("engine (process " + strconv.Itoa(pid) + ") was stopped by signal " + strconv.Itoa(int(ws.StopSignal())) + "; waking it")
	_ = unix.Kill(pid, unix.SIGCONT)
}

func endOf(ws unix.WaitStatus) status {
	s := status{at: time.Now().UnixNano()}
	if ws.Signaled() {
		s.signal = byte(ws.Signal())
		s.code = 128 + s.signal
		return s
	}
	s.code = byte(ws.ExitStatus())
	return s
}
