package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// runAsChild keeps this program as pid 1 beside the container's program: confined
// like that one, it executes itself anew as "tutti-reaper". The new process image
// holds no thread or memory of the set-up.
func runAsChild(p *program) error {
	if err := p.confine(); err != nil {
		return err
	}
	// Errors of executing the program still go to the engine.
	if _, err := unix.FcntlInt(wire.ControlFD, unix.F_SETFD, 0); err != nil {
		return failed("keep the socket for pid 1", err)
	}
	args := append([]string{"tutti-reaper"}, p.Args...)
	return failed("execute pid 1", syscall.Exec("/proc/self/exe", args, p.env))
}

// reaperMain is pid 1 of a container with `init: true`: it starts the program,
// forwards signals to it, reaps every orphan and ends with the program's status.
func reaperMain() int {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.CloseOnExec(wire.ControlFD)
	c := control{fd: wire.ControlFD}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)

	p := program{Process: &wire.Process{Args: os.Args[1:]}, env: os.Environ()}
	child := 0
	err := p.search(func(path string) (err error) {
		child, err = syscall.ForkExec(path, p.Args, &syscall.ProcAttr{
			Env: p.env, Files: []uintptr{0, 1, 2}, Sys: foreground(),
		})
		return err
	})
	if err != nil {
		c.fail(err)
		return exitStatus(err)
	}
	_ = unix.Close(c.fd) // tells the engine that the program runs
	for sig := range signals {
		switch s := sig.(syscall.Signal); s {
		case unix.SIGCHLD:
			if status, ended := reap(child); ended {
				return status
			}
		case unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU: // the Go runtime's own, and a background group's
		default:
			_ = unix.Kill(child, s)
		}
	}
	return exitSetup
}

// foreground gives the child a process group of its own, and the terminal if
// there is one.
func foreground() *syscall.SysProcAttr {
	if _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err != nil {
		return &syscall.SysProcAttr{Setpgid: true}
	}
	return &syscall.SysProcAttr{Foreground: true, Ctty: 0}
}

// reap collects all zombies; ended is true when the program was among them.
func reap(child int) (status int, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return status, ended
		}
		if pid != child {
			continue
		}
		ended = true
		status = ws.ExitStatus()
		if ws.Signaled() {
			status = 128 + int(ws.Signal())
		}
	}
}
