package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/samples/testdata/probe/facts"
)

// paths looks at what is to be hidden and what is to be read-only.
func paths(f *facts.Facts, q *facts.Request) {
	f.Hidden = map[string]string{}
	for _, p := range q.Masked {
		f.Hidden[p] = hidden(p)
	}
	for _, p := range q.ReadOnly {
		if _, err := os.Lstat(p); err != nil {
			continue
		}
		if err := unix.Access(p, unix.W_OK); err != nil {
			f.Unwritable = append(f.Unwritable, p)
		}
	}
	for _, top := range []string{"/proc/sys", "/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/acpi", "/proc/scsi", "/proc/sysrq-trigger"} {
		_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // unreadable is unwritable
			}
			// access(2) with the effective user asks without opening: opening could have effects.
			if d.Type()&fs.ModeSymlink == 0 && unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK, unix.AT_EACCESS) == nil {
				f.Writable = append(f.Writable, p)
				if d.IsDir() {
					return fs.SkipDir
				}
			}
			return nil
		})
	}
}

func hidden(p string) string {
	st, err := os.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		return "denied"
	}
	if st.IsDir() {
		list, err := os.ReadDir(p)
		switch {
		case err != nil:
			return "denied"
		case len(list) == 0:
			return "empty"
		}
		return "readable"
	}
	fd, err := os.OpenFile(p, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "denied"
	}
	defer fd.Close()
	if n, err := fd.Read(make([]byte, 1)); n == 0 && err != nil {
		return "empty"
	}
	return "readable"
}

// devices looks at /dev, and makes and opens nodes of many numbers elsewhere.
func devices(f *facts.Facts) {
	f.Nodes = map[string]string{}
	_ = filepath.WalkDir("/dev", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "/dev" {
			return nil
		}
		f.Nodes[p] = node(p)
		return nil
	})
	const at = "/.node"
	for _, n := range numbers() {
		_ = os.Remove(at)
		if err := unix.Mknod(at, n.mode|0o600, int(unix.Mkdev(n.major, n.minor))); err != nil { //nolint:gosec // a device number
			f.Mknod = err.Error()
			continue
		}
		fd, err := unix.Open(at, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		// ENXIO and its like mean that the devices controller has let it through.
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			f.Refused = append(f.Refused, n.String())
			continue
		}
		f.Opened = append(f.Opened, n.String())
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	_ = os.Remove(at)
}

func node(p string) string {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return err.Error()
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		to, _ := os.Readlink(p)
		return "-> " + to
	case unix.S_IFCHR:
		return fmt.Sprintf("c %d:%d %o", unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Mode&0o777)
	case unix.S_IFBLK:
		return fmt.Sprintf("b %d:%d %o", unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Mode&0o777)
	case unix.S_IFDIR:
		return fmt.Sprintf("dir %o", st.Mode&0o7777)
	}
	return "file"
}

type number struct {
	mode         uint32
	major, minor uint32
}

func (n number) String() string {
	kind := "c"
	if n.mode == unix.S_IFBLK {
		kind = "b"
	}
	return fmt.Sprintf("%s %d:%d", kind, n.major, n.minor)
}

// numbers are the devices to try: the first of each major number, and those that are of use to an attacker or known
// for their effects. The watchdog is not among them: opening it would be enough to reset a machine.
func numbers() []number {
	var all []number
	for major := uint32(1); major < 512; major++ {
		all = append(all, number{unix.S_IFBLK, major, 0})
		if major != 10 {
			all = append(all, number{unix.S_IFCHR, major, 0})
		}
	}
	for minor := uint32(1); minor <= 12; minor++ { // mem, kmem, null, port, zero, core, full, random, urandom, aio, kmsg, oldmem
		all = append(all, number{unix.S_IFCHR, 1, minor})
	}
	for _, minor := range []uint32{59, 61, 63, 183, 200, 203, 223, 228, 229, 231, 232, 234, 235, 236, 237, 238, 239} {
		all = append(all, number{unix.S_IFCHR, 10, minor}) // misc: tun, fuse, kvm, btrfs-control, loop-control, device-mapper ...
	}
	for _, minor := range []uint32{1, 2, 3} {
		all = append(all, number{unix.S_IFCHR, 5, minor}, number{unix.S_IFCHR, 4, minor}, number{unix.S_IFCHR, 136, minor},
			number{unix.S_IFBLK, 7, minor}, number{unix.S_IFBLK, 8, minor}, number{unix.S_IFBLK, 254, minor})
	}
	return all
}

// acts tries what a container is kept from by more than one means.
func acts(f *facts.Facts) {
	f.Acts = map[string]string{}
	for name, try := range map[string]func() error{
		"mount tmpfs":           func() error { return unix.Mount("none", "/dev/shm", "tmpfs", 0, "") },
		"mount cgroup":          func() error { return unix.Mount("none", "/dev/shm", "cgroup", 0, "memory") },
		"remount /sys":          func() error { return unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"umount /proc/sys":      func() error { return unix.Unmount("/proc/sys", unix.MNT_DETACH) },
		"new user namespace":    func() error { return inChild(unix.CLONE_NEWUSER) },
		"new mount namespace":   func() error { return inChild(unix.CLONE_NEWNS) },
		"new network namespace": func() error { return inChild(unix.CLONE_NEWNET) },
		"raw socket": func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		},
		"set the time": func() error { return unix.ClockSettime(unix.CLOCK_BOOTTIME, &unix.Timespec{}) },
		"session keyring": func() error {
			_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
			return err
		},
	} {
		f.Acts[name] = ""
		if err := try(); err != nil {
			f.Acts[name] = err.Error()
		}
	}
	slices.Sort(f.Opened)
}

// inChild unshares namespaces where nothing else lives in them.
func inChild(flags uintptr) error {
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"probe", "calls32"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: flags}})
	if err != nil {
		return err
	}
	var ws unix.WaitStatus
	_, err = unix.Wait4(pid, &ws, 0, nil)
	return err
}
