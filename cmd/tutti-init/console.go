package main

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// devptsMagic is DEVPTS_SUPER_MAGIC of statfs(2).
const devptsMagic = 0x1cd1

// console is the program's terminal; slave is -1 or 0 when there is none.
type console struct {
	slave int
	later bool // the program's process, not this one, makes it its controlling terminal
}

// open makes a terminal in the devpts inside root and hands its master to the
// engine. The file system behind the path is verified, the slave comes from the
// master and not from a path (CVE-2025-52565, CVE-2025-52881).
func (t *console) open(c *control, root int, p *wire.Process) error {
	const step = "open a terminal in the container's /dev/pts"
	master, err := inroot.Open(root, "/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, inroot.Resolve)
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(master) //nolint:errcheck // the engine has its own descriptor
	var fs unix.Statfs_t
	if err := unix.Fstatfs(master, &fs); err != nil {
		return failed(step, err)
	}
	if fs.Type != devptsMagic {
		return refused(step, "not a devpts file system")
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return failed(step, err)
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER,
		unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return failed(step, errno)
	}
	t.slave = int(slave)
	if p.Width != 0 || p.Height != 0 {
		size := unix.Winsize{Row: uint16(p.Height), Col: uint16(p.Width)}
		if err := unix.IoctlSetWinsize(t.slave, unix.TIOCSWINSZ, &size); err != nil {
			return failed("set the terminal's size", err)
		}
	}
	if err := c.send(wire.FrameConsole, nil, unix.UnixRights(master)); err != nil {
		return failed("hand over the terminal", err)
	}
	return nil
}

// bindConsole puts the terminal at /dev/console.
func (r *rootfs) bindConsole(t *console) error {
	dst, _, err := r.target("/dev/console", false)
	if err != nil {
		return failed("make /dev/console", err)
	}
	defer unix.Close(dst) //nolint:errcheck // O_PATH descriptor
	tree, err := cloneTree(t.slave, "", false)
	if err == nil {
		err = attachBind(tree, dst, &wire.Mount{})
	}
	if err != nil {
		return failed("mount /dev/console", err)
	}
	return nil
}

// attach makes the terminal the controlling one and the standard streams.
func (t *console) attach() error {
	if !t.later {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.slave), unix.TIOCSCTTY, 0)
		if errno != 0 {
			return failed("take the controlling terminal", errno)
		}
	}
	for fd := range 3 {
		if err := unix.Dup3(t.slave, fd, 0); err != nil {
			return failed("set standard streams", err)
		}
	}
	return nil
}

// ownStreams makes the standard streams usable for the program: pipes and the
// terminal belong to its user, so that it may open /dev/stdout again, and a null
// device is the container's instead of the host's.
func ownStreams(uid uint32) error {
	null := -1
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			continue // closed by the caller on purpose
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFCHR && st.Rdev == devNull {
			if null < 0 {
				null, _ = inroot.Open(unix.AT_FDCWD, "/dev/null", unix.O_RDWR, inroot.Resolve)
			}
			if null >= 0 && isDevice(null, devNull) {
				_ = unix.Dup3(null, fd, 0)
			}
			continue
		}
		isTerminal := kind == unix.S_IFCHR && unix.Major(st.Rdev) >= 136 && unix.Major(st.Rdev) <= 143
		if (kind != unix.S_IFIFO && !isTerminal) || st.Uid == uid {
			continue
		}
		if err := unix.Fchown(fd, int(uid), int(st.Gid)); err != nil && err != unix.EPERM && err != unix.EROFS {
			return failed("give the standard streams to the user", err)
		}
	}
	if null >= 0 {
		_ = unix.Close(null)
	}
	return nil
}
