package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// joinCgroups moves this thread into cgroup v1 groups. Writing "0" to "tasks"
// moves the caller alone, which needs none of the locks (and RCU grace periods)
// that "cgroup.procs" takes; execve then leaves nothing but this thread.
func joinCgroups(tasks []string) error {
	for _, path := range tasks {
		if err := writeFile(path, "0"); err != nil {
			return failed("join cgroup "+path, err)
		}
	}
	return nil
}

func setOOMScore(value string) error {
	if value == "" {
		return nil
	}
	if err := writeFile("/proc/self/oom_score_adj", value); err != nil {
		return failed("set oom_score_adj to "+value, err)
	}
	return nil
}

func joinNamespaces(join []wire.Namespace) error {
	for _, n := range join {
		fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return failed("open namespace "+n.Path, err)
		}
		if n.Flag == unix.CLONE_NEWNS { // entered by a thread that shares its root with no other
			err = unix.Unshare(unix.CLONE_FS)
		}
		if err == nil {
			err = unix.Setns(fd, int(n.Flag))
		}
		_ = unix.Close(fd)
		if err != nil {
			return failed("join namespace "+n.Path, err)
		}
	}
	return nil
}

// newKeyring gives the container a session keyring of its own instead of the
// host's. A process that enters later joins it by the same name.
func newKeyring(id string) error {
	_, err := unix.KeyctlJoinSessionKeyring("_ses." + id)
	if err != nil && err != unix.ENOSYS {
		return failed("join session keyring", err)
	}
	return nil
}

// loopbackUp sets the flag IFF_UP on "lo" of a new network namespace.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return failed("bring up loopback", err)
	}
	defer unix.Close(s) //nolint:errcheck // nothing was written
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return failed("bring up loopback", err)
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(ifr)))
	if errno != 0 {
		return failed("bring up loopback", errno)
	}
	return nil
}

func setNames(cfg *wire.Config) error {
	if cfg.Hostname != "" {
		if err := unix.Sethostname([]byte(cfg.Hostname)); err != nil {
			return failed("set host name", err)
		}
	}
	if cfg.Domainname != "" {
		if err := unix.Setdomainname([]byte(cfg.Domainname)); err != nil {
			return failed("set domain name", err)
		}
	}
	return nil
}

// setSysctls writes to the container's procfs before anything of it is masked.
// What is opened there must be procfs, whatever an image or a volume has put in
// its place (CVE-2025-52881); without one in the container a private one serves.
func (r *rootfs) setSysctls(list []wire.Sysctl) error {
	if len(list) == 0 {
		return nil
	}
	proc, err := inroot.Open(r.fd, "/proc", unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve|unix.RESOLVE_NO_SYMLINKS)
	if err != nil || !inroot.IsProc(proc) {
		if proc, err = newFilesystem("proc", nil, 0); err != nil {
			return failed("mount procfs for sysctls", err)
		}
	}
	defer unix.Close(proc) //nolint:errcheck // O_PATH descriptor
	for _, s := range list {
		if err := setSysctl(proc, &s); err != nil {
			return failed("set sysctl "+s.Path, err)
		}
	}
	return nil
}

func setSysctl(proc int, s *wire.Sysctl) error {
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV
	fd, err := inroot.Open(proc, "sys/"+s.Path, unix.O_WRONLY, resolve)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // procfs reports errors at write
	_, err = unix.Write(fd, []byte(s.Value))
	return err
}

// writeFile writes value in one write(2), as kernel files want it.
func writeFile(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(value))
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}
