package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime"
)

// CreateOptions are what runc's create and run take as flags.
type CreateOptions struct {
	Bundle        string
	ConsoleSocket string // gets the terminal's master; required with a terminal, unless Attached
	PidFile       string
	NoPivot       bool
	NoNewKeyring  bool
	PreserveFDs   int // descriptors of this process from 3 on, besides those of LISTEN_FDS
	Stdio         runtime.Stdio
	Attached      bool // the terminal is the caller's to read: it is in the Container
}

// Create makes a container from a bundle; Start executes its program.
func (r *Runtime) Create(ctx context.Context, id string, o CreateOptions) (*runtime.Container, error) {
	spec, bundle, err := loadBundle(o.Bundle)
	if err != nil {
		return nil, err
	}
	if spec.Process == nil {
		return nil, errors.New("config.json: process is required")
	}
	if err := checkTerminal(spec.Process.Terminal, !o.Attached, o.ConsoleSocket); err != nil {
		return nil, err
	}
	if spec.Linux.CgroupsPath, err = cgroupsPath(spec.Linux.CgroupsPath, cgroupParent(r.root), id); err != nil {
		return nil, err
	}
	r.warnOfKernelMemory(spec.Linux.Resources)
	var listening []string
	if o.Stdio.Preserve, listening, err = preserved(o.PreserveFDs); err != nil {
		return nil, err
	}
	spec.Process.Env = append(spec.Process.Env, listening...)
	c, err := r.rt.Create(ctx, id, spec, runtime.CreateOptions{
		Stdio: o.Stdio, Detached: true, Bundle: bundle, NoPivot: o.NoPivot, NoKeyring: o.NoNewKeyring,
	})
	if err != nil {
		return nil, err
	}
	if o.ConsoleSocket != "" {
		err = sendConsole(o.ConsoleSocket, c.Console)
		_ = c.Console.Close()
		c.Console = nil
	}
	if err == nil {
		err = writePidFile(o.PidFile, c.Pid())
	}
	if err != nil {
		return nil, errors.Join(err, c.Delete(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// warnOfKernelMemory tells of the one limit that is ignored, as all runtimes do:
// kernels from 5.16 on have none for memory of the kernel alone.
func (r *Runtime) warnOfKernelMemory(res *specs.LinuxResources) {
	if res == nil || res.Memory == nil || res.Memory.Kernel == nil { //nolint:staticcheck // deprecated, and still asked for
		return
	}
	r.warn(errors.New("linux.resources.memory.kernel is ignored: it is deprecated, and kernels do not limit it"))
}

// checkTerminal makes sure that somebody will hold the terminal.
func checkTerminal(terminal, detached bool, socket string) error {
	switch {
	case terminal && detached && socket == "":
		return errors.New("cannot allocate a terminal without --console-socket: nobody would hold it")
	case socket != "" && (!terminal || !detached):
		return errors.New("cannot use --console-socket without a terminal, or when not detached")
	}
	return nil
}

// preserved are the descriptors that the program inherits: those of systemd's socket
// activation (sd_listen_fds(3)) and n more, with what to tell the program.
func preserved(n int) (files []*os.File, env []string, err error) {
	listening := 0
	if s := os.Getenv("LISTEN_FDS"); s != "" {
		if listening, err = strconv.Atoi(s); err != nil || listening < 0 {
			return nil, nil, fmt.Errorf("LISTEN_FDS %q: not a number of descriptors", s)
		}
		env = []string{"LISTEN_FDS=" + s, "LISTEN_PID=1"}
	}
	const most = 200 // what fits between the standard streams and the program's socket
	if n < 0 || n+listening > most {
		return nil, nil, fmt.Errorf("cannot preserve %d descriptors: 0 to %d are possible", n+listening, most)
	}
	for fd := 3; fd < 3+listening+n; fd++ {
		// Those of this program itself are all close-on-exec.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return nil, nil, fmt.Errorf("cannot preserve descriptor %d: it is not open", fd)
		}
		files = append(files, os.NewFile(uintptr(fd), "descriptor "+strconv.Itoa(fd)))
	}
	return files, env, nil
}
