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
const (
	Launch = "launch"
	Serve  = "serve"
)

// ListenerFD is the number under which the program gets the listening control socket.
const ListenerFD = 3

const (
	oomScoreAdj  = "-900"
	openFiles    = 1 << 20
	heapGrowthPC = 25 // collect at a quarter of Go's usual 4 MB
)

// Main is the program: args are os.Args, that is the name, Launch or Serve, the engine's log file and the
// engine's argv. It returns the exit code.
func Main(args []string) int {
	if len(args) < 4 {
		return 2
	}
	if args[1] == Launch {
		return relaunch(args)
	}
	debug.SetGCPercent(heapGrowthPC)
	runtime.GOMAXPROCS(2) // one waits in poll(2), the other has the signals
	settle()
	unix.CloseOnExec(ListenerFD)
	_ = unix.SetNonblock(ListenerFD, true)
	return run(ListenerFD, args[2], args[3:])
}

func relaunch(args []string) int {
	argv := append([]string{args[0], Serve}, args[2:]...)
	_, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2, ListenerFD},
	})
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
