package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// Process is a process that Exec started.
type Process struct {
	// Console is the terminal's master when a terminal was asked for, else nil.
	// The caller owns and closes it.
	Console *os.File

	c     *Container
	key   string // for the reaper
	pid   int
	pidfd *os.File
}

// enterNamespaces are what a further process joins, beside the pid namespace.
const enterNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Exec runs a further process in the running container and returns when its
// program was executed. User, environment and working directory are those of p;
// so are capabilities and no_new_privs, but without p.Capabilities they are the
// container's. Seccomp filter, cgroup and namespaces are the container's.
func (c *Container) Exec(ctx context.Context, execID string, p *specs.Process, stdio Stdio) (*Process, error) {
	proc, err := c.exec(ctx, execID, p, stdio)
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", c.id, err)
	}
	return proc, nil
}

func (c *Container) exec(ctx context.Context, execID string, p *specs.Process, stdio Stdio) (*Process, error) {
	if !validID().MatchString(execID) {
		return nil, fmt.Errorf("exec ID %q: invalid", execID)
	}
	cfg, err := c.execConfig(p)
	if err != nil {
		return nil, err
	}
	proc := &Process{c: c, key: c.id + "/" + execID}
	l, err := c.launchExec(c.enteringKey(proc.key), cfg, stdio, p.Terminal)
	if l.ctl != nil {
		defer l.ctl.close()
	}
	if err == nil {
		err = l.ctl.start(ctx, append(frame(wire.FrameConfig, cfg.Marshal()), frame(wire.FrameStart, nil)...))
	}
	if l.pidfd != nil {
		err = errors.Join(err, c.settle(ctx, proc, &l, err != nil))
	}
	if err != nil {
		return nil, err
	}
	proc.Console = l.ctl.takeConsole()
	return proc, nil
}

// enteringKey is the key of what makes the program's process and ends then. The
// keeper, which reaps everything, need not know it.
func (c *Container) enteringKey(key string) string {
	if c.rt.cfg.Reaper.CloneFlags() != 0 {
		return ""
	}
	return key + ".entering"
}

// settle takes over the program's process, which init made, and lets go of init; or of both when something failed.
func (c *Container) settle(ctx context.Context, proc *Process, l *launched, failed bool) error {
	var err error
	if l.ctl.entered.pidfd != nil {
		proc.pid, proc.pidfd = l.ctl.entered.pid, l.ctl.entered.pidfd
		l.ctl.entered = child{}
		if err = c.rt.cfg.Reaper.Register(proc.key, proc.pid); err == nil {
			c.mu.Lock()
			if c.execs == nil {
				c.execs = map[string]struct{}{}
			}
			c.execs[proc.key] = struct{}{}
			c.mu.Unlock()
		}
	} else if !failed {
		err = errors.New("init ended without a word")
	}
	if failed || err != nil {
		_ = signalProcess(l.pidfd, syscall.SIGKILL)
		proc.abandon(ctx)
	}
	if key := c.enteringKey(proc.key); key != "" {
		err = errors.Join(err, c.rt.cfg.Reaper.Release(key)) // it is reaped nevertheless
	}
	return errors.Join(err, l.pidfd.Close())
}

func (c *Container) execConfig(p *specs.Process) (*wire.Config, error) {
	process, err := c.rt.wireProcess(p, c.state.Groups)
	if err != nil {
		return nil, err
	}
	if p.Capabilities == nil {
		process.Caps, process.NoNewPrivs = c.state.Caps, p.NoNewPrivileges || c.state.NoNewPrivs
	}
	process.Personality = c.state.Personality
	process.Filter, process.FilterFlags = c.state.Filter, c.state.FilterFlags
	if process.Apparmor == "" {
		process.Apparmor = c.state.AppArmor
	}
	if process.OOMScoreAdj == "" {
		process.OOMScoreAdj = c.state.OOMScoreAdj
	}
	return &wire.Config{
		Exec: true, ID: c.id, CgroupTasks: c.cg.Tasks(), Unshare: enterNamespaces, Process: process, NoKeyring: c.state.NoKeyring,
	}, nil
}

// launchExec clones the process under the container's lock, so that it cannot
// be paused or deleted in between.
func (c *Container) launchExec(key string, cfg *wire.Config, stdio Stdio, terminal bool) (launched, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.created() || !c.alive() {
		return launched{}, ErrNotRunning
	}
	if frozen, err := c.cg.Frozen(); err != nil || frozen {
		return launched{}, errors.Join(err, ErrPaused)
	}
	s, closeNS, err := c.birth(cfg)
	if err != nil {
		return launched{}, err
	}
	defer closeNS()
	if !c.alive() { // the paths may have been another process's
		return launched{}, ErrNotRunning
	}
	extras := []*os.File{c.pidfd}
	for i, f := range stdio.Preserve {
		if i == 0 {
			cfg.PreserveFD = uint32(wire.ControlFD + 1 + len(extras))
		}
		extras = append(extras, f)
	}
	cfg.Preserve = uint32(len(stdio.Preserve))
	l, err := c.rt.launch(key, c.cg, s, stdio, terminal, extras...)
	if err == nil && s.userNS != nil {
		err = c.placeForInit(l.pid, cfg)
	}
	return l, err
}

// birth opens the namespaces that init is born in; into the pid namespace goes only what it makes at last.
func (c *Container) birth(cfg *wire.Config) (s spawnOptions, closeAll func(), err error) {
	var opened []*os.File
	closeAll = func() {
		for _, f := range opened {
			_ = f.Close()
		}
	}
	proc := "/proc/" + strconv.Itoa(c.state.Pid) + "/ns/"
	for _, n := range []struct {
		name   string
		wanted bool
		file   **os.File
	}{
		{"user", c.state.Join&unix.CLONE_NEWUSER != 0, &s.userNS},
		{"time", c.state.Join&unix.CLONE_NEWTIME != 0, &s.timeNS},
	} {
		if !n.wanted {
			continue
		}
		if *n.file, err = os.Open(proc + n.name); err != nil {
			closeAll()
			return s, nil, ErrNotRunning
		}
		opened = append(opened, *n.file)
	}
	if s.userNS != nil {
		// From inside a user namespace the host's namespaces cannot be entered, not even
		// to stay in them.
		cfg.Unshare, err = differing(proc)
	}
	return s, closeAll, err
}

// differing are the CLONE_NEW* of enterNamespaces that are not this process's own.
func differing(proc string) (uint64, error) {
	var flags uint64
	for _, n := range []struct {
		name string
		flag uint64
	}{
		{"mnt", unix.CLONE_NEWNS},
		{"net", unix.CLONE_NEWNET},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"cgroup", unix.CLONE_NEWCGROUP},
	} {
		theirs, err := os.Readlink(proc + n.name)
		if err != nil {
			return 0, ErrNotRunning
		}
		own, err := os.Readlink("/proc/self/ns/" + n.name)
		if err != nil {
			return 0, err
		}
		if theirs != own {
			flags |= n.flag
		}
	}
	return flags, nil
}

// abandon gets rid of a process that did not come to its program.
func (p *Process) abandon(ctx context.Context) {
	if p.pidfd == nil {
		return
	}
	_ = signalProcess(p.pidfd, syscall.SIGKILL)
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	_, _ = p.Wait(cleanup)
}

// Pid is the process in the host's pid namespace.
func (p *Process) Pid() int { return p.pid }

// Wait blocks until the process ended; then its exit record is released, so that
// only one caller gets it.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	status, err := p.c.rt.cfg.Reaper.Wait(ctx, p.key)
	if err != nil {
		return status, err
	}
	p.c.mu.Lock()
	delete(p.c.execs, p.key)
	p.c.mu.Unlock()
	return status, p.c.rt.cfg.Reaper.Release(p.key)
}

// Kill sends sig to the process.
func (p *Process) Kill(sig syscall.Signal) error { return signalProcess(p.pidfd, sig) }

// Resize sets the terminal's size in characters.
func (p *Process) Resize(width, height uint16) error { return resize(p.Console, width, height) }
