package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// setAttributesOf sets what a process has beside its user and limits, while this
// thread still has the capabilities for it.
func setAttributesOf(p *wire.Process) error {
	if err := setAffinity(p.FinalAffinity); err != nil {
		return err
	}
	if p.Scheduler.Set {
		if err := setScheduler(&p.Scheduler); err != nil {
			return failed("set the scheduler", err)
		}
	}
	if p.IOPriority != 0 {
		const whoProcess = 1 // IOPRIO_WHO_PROCESS: this thread
		_, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, whoProcess, 0, uintptr(p.IOPriority))
		if errno != 0 {
			return failed("set the I/O priority", errno)
		}
	}
	if p.Personality != 0 {
		_, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, uintptr(p.Personality-1), 0, 0)
		if errno != 0 {
			return failed("set the personality", errno)
		}
	}
	if p.Apparmor != "" {
		return setApparmor(p.Apparmor)
	}
	return nil
}

// setAffinity lets this thread run on the CPUs of a bit mask only.
func setAffinity(mask []uint64) error {
	if len(mask) == 0 {
		return nil
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, uintptr(len(mask)*8), uintptr(unsafe.Pointer(&mask[0])))
	if errno != 0 {
		return failed("set the CPU affinity", errno)
	}
	return nil
}

func setScheduler(s *wire.Scheduler) error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: s.Policy, Flags: s.Flags, Nice: int32(s.Nice), Priority: s.Priority,
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}, 0)
}

// setApparmor has the kernel change to a profile at the next execve. What is
// written to must be procfs, whatever the container has at /proc (CVE-2025-52881).
func setApparmor(profile string) error {
	step := "change to AppArmor profile " + profile
	proc, err := newFilesystem("proc", nil, 0)
	if err != nil { // not for the user of this namespace
		proc, err = inroot.Open(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve|unix.RESOLVE_NO_SYMLINKS)
		if err == nil && !inroot.IsProc(proc) {
			return refused(step, "/proc of the container is not procfs")
		}
	}
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(proc) //nolint:errcheck // O_PATH descriptor
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV
	fd, err := inroot.Open(proc, "self/attr/apparmor/exec", unix.O_WRONLY, resolve)
	if err == unix.ENOENT { // before Linux 5.8 (proc_pid_attr(5))
		fd, err = inroot.Open(proc, "self/attr/exec", unix.O_WRONLY, resolve)
	}
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(fd) //nolint:errcheck // procfs reports errors at write
	if _, err := unix.Write(fd, []byte("exec "+profile)); err != nil {
		return failed(step, err)
	}
	return nil
}
