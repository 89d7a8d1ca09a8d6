package container

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// confine widens or narrows the default confinement as docker's flags of the same names do.
func (c *Config) confine(s *specs.Spec) error {
	if err := runtime.SetCapabilities(s, c.Security.CapAdd, c.Security.CapDrop); err != nil {
		return fmt.Errorf("cap_add, cap_drop: %w", err)
	}
	switch c.Security.Seccomp {
	case "":
	case "unconfined":
		s.Linux.Seccomp = nil
	default:
		profile, err := os.ReadFile(c.Security.Seccomp)
		if err != nil {
			return fmt.Errorf("security_opt seccomp: %w", err)
		}
		if err := runtime.LoadSeccomp(s, string(profile)); err != nil {
			return fmt.Errorf("security_opt seccomp: %w", err)
		}
	}
	for _, d := range c.Devices {
		if err := runtime.AddDevice(s, d.Source, d.Target, d.Permissions); err != nil {
			return fmt.Errorf("devices: %w", err)
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
		return runtime.SetPrivileged(s)
	}
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
