package main

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// enter runs a further program in a container that is running, whose processes may
// be hostile: this one is not in their pid namespace, only what leave makes is. It
// returns nil when the program runs.
func enter(c *control, cfg *wire.Config) error {
	if err := setAffinity(cfg.Process.InitialAffinity); err != nil {
		return err
	}
	if err := joinCgroups(cfg.CgroupTasks); err != nil {
		return err
	}
	if err := setOOMScore(cfg.Process.OOMScoreAdj); err != nil {
		return err
	}
	// A mount namespace is entered by a thread that shares its root and working
	// directory with no other thread.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return failed("leave the host's root", err)
	}
	if err := unix.Setns(wire.PidFD, int(cfg.Unshare|unix.CLONE_NEWPID)); err != nil {
		return failed("enter the container's namespaces", err)
	}
	_ = unix.Close(wire.PidFD)
	if !cfg.NoKeyring {
		if err := newKeyring(cfg.ID); err != nil {
			return err
		}
	}
	t := console{later: true}
	if cfg.Process.Terminal {
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return failed("open the container's root", err)
		}
		err = t.open(c, root, &cfg.Process)
		_ = unix.Close(root)
		if err != nil {
			return err
		}
	}
	p, err := prepare(&cfg.Process, &t)
	if err != nil {
		return err
	}
	if _, err := c.read(wire.FrameStart); err != nil {
		return failed("wait for the start", err)
	}
	if err := c.preserve(cfg); err != nil {
		return err
	}
	return p.leave(c, int(cfg.Preserve))
}
