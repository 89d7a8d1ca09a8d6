package container

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// confine widens or narrows the default confinement as docker's flags of the same names do.
func (c *Config) confine(s *specs.Spec) error {
	if err := runtime.SetCapabilities(s, c.Security.CapAdd, nil); err != nil {
		return At(err, "cap_add")
	}
	if err := runtime.SetCapabilities(s, c.Security.CapAdd, c.Security.CapDrop); err != nil {
		return At(err, "cap_drop")
	}
	if c.Security.Unmasked {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	}
	if c.Security.MaskedPaths != nil {
		s.Linux.MaskedPaths = c.Security.MaskedPaths
	}
	if c.Security.ReadonlyPaths != nil {
		s.Linux.ReadonlyPaths = c.Security.ReadonlyPaths
	}
	if c.Security.WritableCgroups {
		writable(s, "cgroup")
	}
	if c.Security.ReadOnly {
		c.protect(s)
	}
	if c.Security.Privileged {
		if err := runtime.SetPrivileged(s); err != nil {
			return At(err, "privileged")
		}
	}
	if err := c.seccomp(s); err != nil {
		return At(err, "security_opt")
	}
	if err := c.addDevices(s); err != nil {
		return err
	}
	return c.appArmor(s)
}

// seccomp replaces the filter of the default, or of a privileged container, by the one that was asked for. Which calls a
// profile allows depends on the capabilities.
func (c *Config) seccomp(s *specs.Spec) error {
	switch c.Security.Seccomp {
	case "":
		return nil
	case runtime.Unconfined:
		s.Linux.Seccomp = nil
		return nil
	}
	return runtime.LoadSeccomp(s, c.Security.Seccomp)
}

// protect makes the mounts of the kernel's read-only with the root, as docker does.
func (c *Config) protect(s *specs.Spec) {
	for i := range s.Mounts {
		switch m := &s.Mounts[i]; m.Destination {
		case "/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev":
		default:
			if !slices.Contains(m.Options, "ro") {
				m.Options = append(m.Options, "ro")
			}
		}
	}
}

// writable takes the option "ro" from the mounts of a type.
func writable(s *specs.Spec, kind string) {
	for i := range s.Mounts {
		if m := &s.Mounts[i]; m.Type == kind {
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
		}
	}
}

// appArmor chooses the profile as docker does where the host has AppArmor. One that cannot load the default profile, for
// want of AppArmor's programs, is like one without: the kernel of Debian has AppArmor in every case.
func (c *Config) appArmor(s *specs.Spec) error {
	if !runtime.AppArmorEnabled() {
		return nil
	}
	profile := c.Security.AppArmor
	switch {
	case profile == "" && c.Security.Privileged:
		profile = runtime.Unconfined
	case profile == "" && !runtime.AppArmorLoads():
		return nil
	case profile == "":
		profile = runtime.AppArmorDefault
	}
	if err := runtime.CheckAppArmor(profile); err != nil {
		return At(err, "security_opt")
	}
	s.Process.ApparmorProfile = profile
	return nil
}

// etcOptions are the mount options of the files of /etc that the engine writes.
func (c *Config) etcOptions() []string {
	if c.Security.ReadOnly {
		return []string{"rbind", "ro", "rprivate"}
	}
	return []string{"rbind", "rprivate"}
}

// checkSysctls refuses settings that are not of a namespace of the container's own.
func checkSysctls(s *specs.Spec, all map[string]string) error {
	for key, value := range all {
		if strings.ContainsAny(key+value, "\n\x00") {
			return At(fmt.Errorf("%q has a control character", key), "sysctls", key)
		}
		if err := runtime.CheckSysctl(s, key, value); err != nil {
			return At(err, "sysctls", key)
		}
	}
	return nil
}
