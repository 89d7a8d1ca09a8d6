package server

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

const (
	logLimit    = 4 << 20 // the engine's log is moved aside at a start when it is larger than this
	logTail     = 4 << 10 // so much of it tells a starter why the engine failed
	engineFD    = 3       // number of the engine's end of the socketpair in the engine
	bufferBytes = 1 << 20 // of each direction of the socketpair
)

// engine is the process that the keeper keeps alive.
type engine struct {
	argv    []string
	logFile string

	pid      int // 0: not running
	binary   int // the file of the last start, open, to start from should its path have vanished
	started  time.Time
	logStart int64     // size of the log when it started
	restart  time.Time // when pid is 0: start it then

	ready    bool // serves
	wasReady bool // some engine of this keeper has been ready
	stopping bool // told to stop, or said that it is about to
	failure  string
	backoff  backoff
}

// startEngine starts argv with one end of a fresh socketpair. The path is looked up anew each time, so that the
// file of an upgrade is used with the next start; if there is no file at that path any more, the file of the
// last start, which the keeper holds open, is executed again.
func (k *keeper) startEngine() error {
	e := &k.engine
	e.ready, e.failure, e.started = false, "", time.Now()
	log, size, err := openLog(e.logFile)
	if err != nil {
		return err
	}
	defer unix.Close(log)
	e.logStart = size
	_ = unix.Dup3(log, 1, 0) // the keeper's own few lines go there too
	_ = unix.Dup3(log, 2, 0)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	for _, fd := range pair { // best effort: 300 exits fit in the default
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferBytes)
	}
	defer unix.Close(pair[1])
	attr := &syscall.ProcAttr{
		Dir: "/", Env: engineEnv(os.Environ()),
		Files: []uintptr{0, uintptr(log), uintptr(log), uintptr(pair[1])},
	}
	pid, err := syscall.ForkExec(e.argv[0], e.argv, attr)
	if err == unix.ENOENT && e.binary > 0 {
		pid, err = syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(e.binary), e.argv, attr)
	}
	if err != nil {
		unix.Close(pair[0])
		return &os.PathError{Op: "start", Path: e.argv[0], Err: err}
	}
	e.pid = pid
	e.rememberBinary()
	k.conn = newConn(pair[0])
	return nil
}

// rememberBinary keeps the running engine's file open.
func (e *engine) rememberBinary() {
	fd, err := unix.Open("/proc/"+strconv.Itoa(e.pid)+"/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	e.setBinary(fd)
}

// setBinary keeps a duplicate. Its number must stay clear of those that ForkExec assigns in the child.
func (e *engine) setBinary(fd int) {
	if high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 16); err == nil {
		if e.binary > 0 {
			unix.Close(e.binary)
		}
		e.binary = high
	}
}

func engineEnv(env []string) []string {
	out := make([]string, 0, len(env)+2)
	for _, v := range env {
		if !strings.HasPrefix(v, wire.EnvFD+"=") && !strings.HasPrefix(v, wire.EnvVersion+"=") {
			out = append(out, v)
		}
	}
	return append(out, wire.EnvFD+"="+strconv.Itoa(engineFD), wire.EnvVersion+"="+strconv.Itoa(wire.Version))
}

// openLog opens the engine's log for appending, after moving one that has grown large to path.1.
func openLog(path string) (fd int, size int64, err error) {
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && st.Size > logLimit {
		_ = unix.Rename(path, path+".1")
	}
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if unix.Fstat(fd, &st) != nil {
		return fd, 0, nil
	}
	return fd, st.Size, nil
}

// engineReady hears the engine's verdict about its own start; text is empty when it serves.
func (k *keeper) engineReady(text string) {
	if text != "" {
		k.engine.failure = text
		return // it is going to exit
	}
	k.engine.ready, k.engine.wasReady = true, true
	k.waiters.answer(wire.Ready, "")
}

// engineDied decides what follows the engine's end: nothing more (done), or a restart now or later.
func (k *keeper) engineDied(ws unix.WaitStatus) (done bool, code int) {
	e := &k.engine
	k.drain()
	pid := e.pid
	served := e.ready
	e.pid, e.ready = 0, false
	clean := ws.Exited() && ws.ExitStatus() == 0
	// One that dies while it stops its containers is needed again to finish that.
	if clean || e.stopping && k.table.running() == 0 {
		return true, ws.ExitStatus()
	}
	e.stopping = false
	how := "engine (process " + strconv.Itoa(pid) + ") ended with status " + strconv.Itoa(ws.ExitStatus())
	if ws.Signaled() {
		how = "engine (process " + strconv.Itoa(pid) + ") was killed by signal " + strconv.Itoa(int(ws.Signal()))
	}
	if !served {
		return k.startFailed(how)
	}
	k.restartAfter(how, e.backoff.after(time.Since(e.started), ws.Signal() == unix.SIGKILL))
	return false, 0
}

// startFailed tells the starters, and gives up when no engine has ever been ready and there is nothing to keep.
// Starters that come while a serving engine is replaced are not told anything: they get the new one.
func (k *keeper) startFailed(how string) (done bool, code int) {
	e := &k.engine
	text := e.failure
	if text == "" {
		text = e.logSinceStart()
	}
	if text == "" {
		text = how
	}
	k.waiters.accept(k.listener)
	k.waiters.answer(wire.Failed, text)
	if !e.wasReady && len(k.table.entries) == 0 {
		say(how + "; giving up")
		return true, 1
	}
	k.restartAfter(how, e.backoff.after(time.Since(e.started), false))
	return false, 0
}

func (k *keeper) restartAfter(how string, delay time.Duration) {
	k.engine.restart = time.Now().Add(delay)
	say(how + "; starting it again in " + delay.String())
}

// logSinceStart returns the end of what the engine wrote to its log, for a starter to show.
func (e *engine) logSinceStart() string {
	fd, err := unix.Open(e.logFile, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return ""
	}
	b := make([]byte, logTail)
	n, err := unix.Pread(fd, b, max(e.logStart, st.Size-logTail))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b[:n]))
}

// say writes a line to the engine's log.
func say(text string) {
	_, _ = unix.Write(2, []byte(time.Now().UTC().Format(time.RFC3339)+" keeper: "+text+"\n"))
}
