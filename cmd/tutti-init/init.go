package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// exitSetup is the status of an init that failed before it became the
// container's program; the error itself goes to the engine over the socket.
const exitSetup = 125

// exitStatus is what shells exit with when a program cannot be executed.
func exitStatus(err error) int {
	var e *stepError
	if !errors.As(err, &e) || !e.exec {
		return exitSetup
	}
	if e.err == unix.ENOENT {
		return 127
	}
	return 126
}

func initMain() int {
	// Nobody may look into this process or its descriptors through /proc or
	// ptrace before execve resets this (CVE-2016-9962).
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	closeOnExecAll()
	unix.Umask(0o022) // for what is made on the way, whatever the engine's is
	c := control{fd: wire.ControlFD}
	var cfg wire.Config
	if err := c.readConfig(&cfg); err != nil {
		return exitSetup // the engine is gone: nobody to tell
	}
	err := run(&c, &cfg)
	if err == nil {
		return 0 // another process is the program
	}
	c.fail(err)
	return exitStatus(err)
}

func run(c *control, cfg *wire.Config) error {
	if cfg.Exec {
		return enter(c, cfg)
	}
	return create(c, cfg)
}

// create makes the container around this process, in kernel order. It only
// returns with an error.
func create(c *control, cfg *wire.Config) error {
	// First of all the cgroups: the cgroup namespace made below takes them as its root,
	// and what follows counts against the container's limits.
	if err := joinCgroups(cfg.CgroupTasks); err != nil {
		return err
	}
	if err := setOOMScore(cfg.Process.OOMScoreAdj); err != nil {
		return err
	}
	if err := joinNamespaces(cfg.Join); err != nil {
		return err
	}
	if err := unix.Unshare(int(cfg.Unshare)); err != nil {
		return failed("unshare namespaces", err)
	}
	if !cfg.NoKeyring {
		if err := newKeyring(cfg.ID); err != nil {
			return err
		}
	}
	if cfg.Unshare&unix.CLONE_NEWNET != 0 {
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	if err := setNames(cfg); err != nil {
		return err
	}
	var console console
	if err := buildRoot(c, cfg, &console); err != nil {
		return err
	}
	p, err := prepare(&cfg.Process, &console)
	if err != nil {
		return err
	}
	if cfg.StartFD != 0 {
		if err := p.lookUp(); err != nil {
			return err
		}
	}
	if err := c.ready(int(cfg.StartFD)); err != nil {
		return err
	}
	if err := runHooks(cfg.StartContainer, "startContainer", cfg.HookState); err != nil {
		return err
	}
	if err := c.preserve(cfg); err != nil {
		return err
	}
	if cfg.Init {
		return runAsChild(p)
	}
	return p.execute()
}

// buildRoot makes the container's file system and moves this process into it.
func buildRoot(c *control, cfg *wire.Config, con *console) error {
	null, err := openHostNull() // while /dev is still the host's
	if err != nil {
		return err
	}
	defer unix.Close(null) //nolint:errcheck // O_PATH descriptor
	root, err := mountRoot(cfg)
	if err != nil {
		return err
	}
	r := rootfs{fd: root, null: null}
	if err := r.mountAll(cfg.Mounts); err != nil {
		return err
	}
	if err := r.makeDevices(cfg); err != nil {
		return err
	}
	if cfg.Process.Terminal {
		if err := con.open(c, root, &cfg.Process); err != nil {
			return err
		}
		if err := r.bindConsole(con); err != nil {
			return err
		}
	}
	if cfg.AskHooks {
		if err := c.askHooks(); err != nil {
			return err
		}
	}
	if err := runHooks(cfg.CreateContainer, "createContainer", cfg.HookState); err != nil {
		return err
	}
	if err := r.setSysctls(cfg.Sysctls); err != nil {
		return err
	}
	if err := r.protect(cfg); err != nil {
		return err
	}
	if cfg.Outer {
		return r.changeRoot()
	}
	if cfg.NoPivot {
		return r.moveRoot()
	}
	if err := r.pivot(); err != nil {
		return err
	}
	return sharedRoot(cfg.RootPropagation)
}
