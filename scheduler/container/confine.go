package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// confine widens or narrows the default confinement as docker's flags of the same names do.
func (c *Config) confine(s *specs.Spec) error {
	if err := c.capabilities(s.Process); err != nil {
		return err
	}
	if c.Security.Seccomp == "unconfined" || c.Security.Privileged {
		s.Linux.Seccomp = nil
	}
	for _, d := range c.Devices {
		if err := addDevices(s, d); err != nil {
			return err
		}
	}
	for _, text := range c.Security.DeviceRules {
		r, err := deviceRule(text)
		if err != nil {
			return err
		}
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, r)
	}
	if c.Security.Privileged {
		return privileged(s)
	}
	return nil
}

// capabilities follows docker: cap_drop ALL takes the default away, cap_add ALL gives everything, single names follow.
func (c *Config) capabilities(p *specs.Process) error {
	known := map[string]bool{}
	var all []string
	for _, k := range capability.ListKnown() {
		name := "CAP_" + strings.ToUpper(k.String())
		known[name] = true
		all = append(all, name)
	}
	normal := func(names []string) (list []string, every bool, err error) {
		for _, n := range names {
			n = strings.ToUpper(n)
			if n == "ALL" || n == "CAP_ALL" {
				every = true
				continue
			}
			if !strings.HasPrefix(n, "CAP_") {
				n = "CAP_" + n
			}
			if !known[n] {
				return nil, false, fmt.Errorf("%q is no capability", n)
			}
			list = append(list, n)
		}
		return list, every, nil
	}
	add, addAll, err := normal(c.Security.CapAdd)
	if err != nil {
		return fmt.Errorf("cap_add: %w", err)
	}
	drop, dropAll, err := normal(c.Security.CapDrop)
	if err != nil {
		return fmt.Errorf("cap_drop: %w", err)
	}
	base := p.Capabilities.Bounding
	switch {
	case c.Security.Privileged, addAll:
		base = all
	case dropAll:
		base = nil
	}
	var have []string
	for _, n := range append(slices.Clone(base), add...) {
		dropped := slices.Contains(drop, n) && !slices.Contains(add, n)
		if !slices.Contains(have, n) && (!dropped || c.Security.Privileged) {
			have = append(have, n)
		}
	}
	p.Capabilities = &specs.LinuxCapabilities{Bounding: have, Effective: have, Permitted: have}
	return nil
}

// privileged takes the masks away and gives every device of the host.
func privileged(s *specs.Spec) error {
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	for i := range s.Mounts {
		if d := s.Mounts[i].Destination; d == "/sys" || d == "/sys/fs/cgroup" {
			s.Mounts[i].Options = slices.DeleteFunc(slices.Clone(s.Mounts[i].Options), func(o string) bool { return o == "ro" })
		}
	}
	return addDevices(s, Device{Source: "/dev", Target: "/dev", Permissions: "rwm"})
}

// addDevices makes a device of the host, or all in a folder of it, visible in the container and allows its use.
func addDevices(s *specs.Spec, d Device) error {
	info, err := os.Stat(d.Source)
	if err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	if !info.IsDir() {
		return addDevice(s, d)
	}
	return filepath.WalkDir(d.Source, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // devices come and go
		}
		if e.IsDir() {
			if slices.Contains([]string{"pts", "shm", "fd", "mqueue", ".lxc", ".udev"}, e.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if e.Type()&os.ModeDevice == 0 || e.Name() == "console" {
			return nil
		}
		return addDevice(s, Device{Source: path, Target: filepath.Join(d.Target, strings.TrimPrefix(path, d.Source)), Permissions: d.Permissions})
	})
}

func addDevice(s *specs.Spec, d Device) error {
	var st unix.Stat_t
	if err := unix.Stat(d.Source, &st); err != nil {
		return fmt.Errorf("devices: %s: %w", d.Source, err)
	}
	n := specs.LinuxDevice{Path: d.Target, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), UID: &st.Uid, GID: &st.Gid}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		n.Type = "c"
	case unix.S_IFBLK:
		n.Type = "b"
	default:
		return fmt.Errorf("devices: %s is no device", d.Source)
	}
	mode := os.FileMode(st.Mode & 0o777)
	n.FileMode = &mode
	s.Linux.Devices = append(s.Linux.Devices, n)
	s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: n.Type, Major: &n.Major, Minor: &n.Minor, Access: d.Permissions})
	return nil
}

// deviceRule reads a rule as in "c 13:* rmw" (devices.allow of cgroup v1).
func deviceRule(text string) (specs.LinuxDeviceCgroup, error) {
	bad := fmt.Errorf("device_cgroup_rules: %q is not of the form \"c 13:* rwm\"", text)
	f := strings.Fields(text)
	if len(f) != 3 || !slices.Contains([]string{"a", "b", "c"}, f[0]) || strings.Trim(f[2], "rwm") != "" {
		return specs.LinuxDeviceCgroup{}, bad
	}
	r := specs.LinuxDeviceCgroup{Allow: true, Type: f[0], Access: f[2]}
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return r, bad
	}
	for _, n := range []struct {
		text string
		to   **int64
	}{{major, &r.Major}, {minor, &r.Minor}} {
		if n.text == "*" {
			continue
		}
		v, err := strconv.ParseUint(n.text, 10, 32)
		if err != nil {
			return r, bad
		}
		i := int64(v) //nolint:gosec // 32 bits
		*n.to = &i
	}
	return r, nil
}
