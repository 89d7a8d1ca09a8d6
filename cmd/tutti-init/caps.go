package main

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// dropBounding removes every capability that is not in keep from the bounding set.
func dropBounding(keep uint64) error {
	for c := range uintptr(64) {
		if keep&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL {
			return nil // past the kernel's last capability
		}
		if err != nil {
			return failed("drop capability "+itoa(int(c))+" from the bounding set", err)
		}
	}
	return nil
}

// raiseEffective makes all permitted capabilities effective again, which the
// change of user ended.
func raiseEffective() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return failed("read capabilities", err)
	}
	data[0].Effective, data[1].Effective = data[0].Permitted, data[1].Permitted
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return failed("raise capabilities", err)
	}
	return nil
}

// setCaps sets the final sets of this thread.
func setCaps(c *wire.Caps) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(c.Effective), Permitted: uint32(c.Permitted), Inheritable: uint32(c.Inheritable)},
		{Effective: uint32(c.Effective >> 32), Permitted: uint32(c.Permitted >> 32), Inheritable: uint32(c.Inheritable >> 32)},
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return failed("set capabilities", err)
	}
	if c.Ambient == 0 {
		return nil // empty at the start: nothing raises it before
	}
	for cap := range uintptr(64) {
		if c.Ambient&(1<<cap) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, cap, 0, 0); err != nil {
			return failed("raise ambient capability "+itoa(int(cap)), err)
		}
	}
	return nil
}
