package server

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// The two lives of the program, its first argument. Launched by a client it starts itself again and exits, so
// that the keeper is nobody's child but init's: no zombie of the client, and no leader of a session, which
// could get a terminal.
//
// Inherit and Succeed are the same when an engine whose keeper has died starts another: it hands over on LegacyFD what
// the dead one had.
const (
	Launch  = "launch"
	Serve   = "serve"
	Inherit = "inherit"
	Succeed = "succeed"
)

// Numbers under which the program gets the listening control socket, and the socket of its legacy.
const (
	ListenerFD = 3
	LegacyFD   = 4
)

const (
	oomScoreAdj  = "-999" // as dockerd gives to its shims; the engine, which matters less, gives itself a higher one
	openFiles    = 1 << 20
	heapGrowthPC = 25 // collect at a quarter of Go's usual 4 MB
)

// Main is the program: args are os.Args, that is the name, Launch or Serve, the engine's log file and the
// engine's argv. It returns the exit code.
func Main(args []string) int {
	if len(args) < 4 {
		return 2
	}
	switch args[1] {
	case Launch:
		return relaunch(args, Serve, 0, 1, 2, ListenerFD)
	case Inherit:
		return relaunch(args, Succeed, 0, 1, 2, ListenerFD, LegacyFD)
	}
	debug.SetGCPercent(heapGrowthPC)
	runtime.GOMAXPROCS(2) // one waits in poll(2), the other has the signals
	settle()
	unix.CloseOnExec(ListenerFD)
	_ = unix.SetNonblock(ListenerFD, true)
	legacy := -1
	if args[1] == Succeed {
		legacy = LegacyFD
		unix.CloseOnExec(legacy)
	}
	return run(ListenerFD, legacy, args[2], args[3:])
}

func relaunch(args []string, as string, files ...uintptr) int {
	argv := append([]string{args[0], as}, args[2:]...)
	_, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{Dir: "/", Env: os.Environ(), Files: files})
	if err != nil {
		say("start: " + err.Error())
		return 1
	}
	return 0
}

// settle makes the process a subreaper and gives it what a daemon needs. All but the first is best effort:
// without privileges the keeper works with less.
func settle() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		say("become a subreaper: " + err.Error())
	}
	unix.Umask(0o022)
	if fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		_, _ = unix.Write(fd, []byte(oomScoreAdj))
		unix.Close(fd)
	}
	limit := unix.Rlimit{Cur: openFiles, Max: openFiles}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil && unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
}
