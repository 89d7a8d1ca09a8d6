package runtime

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	profile "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// SetCapabilities applies cap_add and cap_drop to the default set as docker does:
// names with or without CAP_, in any case, and ALL. The seccomp profile follows
// the result (it allows mount(2) to who has CAP_SYS_ADMIN, and so on) if the spec
// has docker's default profile.
func SetCapabilities(s *specs.Spec, add, drop []string) error {
	add, err := normalize(add)
	if err != nil {
		return err
	}
	drop, err = normalize(drop)
	if err != nil {
		return err
	}
	var caps []string
	switch {
	case slices.Contains(add, allCaps):
		caps = slices.DeleteFunc(slices.Clone(capNames), func(c string) bool { return slices.Contains(drop, c) })
	case slices.Contains(drop, allCaps):
		caps = add
	default:
		caps = slices.DeleteFunc(slices.Clone(defaultCaps), func(c string) bool { return slices.Contains(drop, c) })
		for _, c := range add {
			if !slices.Contains(caps, c) {
				caps = append(caps, c)
			}
		}
	}
	setCaps(s, caps)
	if s.Linux.Seccomp != nil {
		s.Linux.Seccomp, err = defaultSeccomp(caps)
	}
	return err
}

// allCaps stands for every capability in cap_add and cap_drop.
const allCaps = "ALL"

func normalize(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		n = strings.ToUpper(n)
		if n != allCaps && !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		if n != allCaps && capNumber(n) < 0 {
			return nil, fmt.Errorf("unknown capability %q", n)
		}
		out = append(out, n)
	}
	return out, nil
}

func setCaps(s *specs.Spec, caps []string) {
	s.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: caps, Effective: slices.Clone(caps), Permitted: slices.Clone(caps),
	}
}

// SetPrivileged is docker's --privileged: all capabilities, all devices of the
// host, no seccomp filter, nothing masked or read-only.
func SetPrivileged(s *specs.Spec) error {
	setCaps(s, slices.Clone(capNames))
	s.Linux.Seccomp = nil
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	for i := range s.Mounts {
		switch s.Mounts[i].Type {
		case "sysfs", "cgroup":
			s.Mounts[i].Options = slices.DeleteFunc(s.Mounts[i].Options, func(o string) bool { return o == "ro" })
		}
	}
	devices, err := HostDevices("/dev")
	if err != nil {
		return err
	}
	s.Linux.Devices = devices
	return nil
}

// LoadSeccomp replaces the profile by one in docker's JSON format. It depends on
// the capabilities: set those first.
func LoadSeccomp(s *specs.Spec, json string) error {
	p, err := profile.LoadProfile(json, s)
	if err != nil {
		return fmt.Errorf("load seccomp profile: %w", err)
	}
	s.Linux.Seccomp = p
	return nil
}

// defaultProfiles are docker's profile per bounding set: it has 400 names, and
// containers differ in few sets.
var defaultProfiles struct {
	sync.Mutex
	byCaps map[string]*specs.LinuxSeccomp
}

func defaultSeccomp(caps []string) (*specs.LinuxSeccomp, error) {
	key := strings.Join(slices.Sorted(slices.Values(caps)), ",")
	d := &defaultProfiles
	d.Lock()
	defer d.Unlock()
	if p, ok := d.byCaps[key]; ok {
		return p, nil
	}
	p, err := profile.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
	})
	if err != nil {
		return nil, fmt.Errorf("make the default seccomp profile: %w", err)
	}
	if d.byCaps == nil || len(d.byCaps) >= maxFilters {
		d.byCaps = map[string]*specs.LinuxSeccomp{}
	}
	d.byCaps[key] = p
	return p, nil
}
