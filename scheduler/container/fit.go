package container

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/cgroup"
)

// Fit takes away limits that the host's kernel cannot set, each with docker's warning, or refuses them where docker does
// (moby, daemon/daemon_unix.go, verifyPlatformContainerResources). cpus is the number of the host's processors. c itself
// stays as it is.
func (c Config) Fit(f cgroup.Features, cpus int) (fitted Config, warnings []string, err error) {
	warn := func(text string) { warnings = append(warnings, text) }
	c.Resources.Memory, c.Resources.CPU, c.BlockIO = clone(c.Resources.Memory), clone(c.Resources.CPU), clone(c.BlockIO)
	fitMemory(&c.Resources, f, warn)
	if c.CPUs > float64(cpus) && f.CPUQuota {
		return c, nil, fmt.Errorf("cpus: range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus)
	}
	if err := fitCPU(&c.Resources, f, warn); err != nil {
		return c, nil, err
	}
	if p := c.Resources.Pids; p != nil && p.Limit != nil && *p.Limit > 0 && !f.Pids {
		warn("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.")
		c.Resources.Pids = nil
	}
	c.fitBlockIO(f, warn)
	return c, warnings, nil
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func fitMemory(r *specs.LinuxResources, f cgroup.Features, warn func(string)) {
	m := r.Memory
	if m == nil {
		return
	}
	if m.Limit != nil && !f.Memory {
		warn("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.")
		m.Limit, m.Swap = nil, nil
	}
	if m.Swap != nil && *m.Swap != unlimited && !f.Swap {
		warn("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.")
		m.Swap = nil
	}
	if m.Swappiness != nil && !f.Swappiness {
		warn("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.")
		m.Swappiness = nil
	}
	if m.Reservation != nil && !f.Reservation {
		warn("Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.")
		m.Reservation = nil
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		if !f.OOMKillDisable {
			warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
			m.DisableOOMKiller = nil
		} else if m.Limit == nil {
			warn("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
		}
	}
}

func fitCPU(r *specs.LinuxResources, f cgroup.Features, warn func(string)) error {
	c := r.CPU
	if c == nil {
		return nil
	}
	if c.Shares != nil && !f.CPUShares {
		warn("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.")
		c.Shares = nil
	}
	if (c.Quota != nil || c.Period != nil) && !f.CPUQuota {
		warn("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
		c.Quota, c.Period = nil, nil
	}
	if c.RealtimePeriod != nil && !f.CPURealtime {
		return fmt.Errorf("cpu_rt_period: your kernel does not support cgroup cpu real-time period")
	}
	if c.RealtimeRuntime != nil && !f.CPURealtime {
		return fmt.Errorf("cpu_rt_runtime: your kernel does not support cgroup cpu real-time runtime")
	}
	if (c.Cpus != "" || c.Mems != "") && !f.Cpuset {
		warn("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
		c.Cpus, c.Mems = "", ""
	}
	if err := available(c.Cpus, f.CPUs); err != nil {
		return fmt.Errorf("cpuset: %w", err)
	}
	return nil
}

// available checks that a list of CPUs is within those that there are.
func available(wanted, have string) error {
	if wanted == "" {
		return nil
	}
	list, err := cgroup.ParseSet(wanted)
	if err != nil {
		return err
	}
	there, err := cgroup.ParseSet(have)
	if err != nil {
		return err
	}
	for _, n := range list {
		if !slices.Contains(there, n) {
			return fmt.Errorf("requested CPUs are not available - requested %s, available: %s", wanted, have)
		}
	}
	return nil
}

func (c *Config) fitBlockIO(f cgroup.Features, warn func(string)) {
	b := c.BlockIO
	if b == nil {
		return
	}
	if b.Weight > 0 && !f.IOWeight {
		warn("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
		b.Weight = 0
	}
	if len(b.WeightDevices) > 0 && !f.IOWeightDevice {
		warn("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.")
		b.WeightDevices = nil
	}
	for _, l := range []struct {
		list  *[]DeviceRate
		there bool
		text  string
	}{
		{&b.ReadBps, f.ReadBps, "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded."},
		{&b.WriteBps, f.WriteBps, "BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded."},
		{&b.ReadIOPS, f.ReadIOPS, "IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded."},
		{&b.WriteIOPS, f.WriteIOPS, "IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded."},
	} {
		if len(*l.list) > 0 && !l.there {
			warn("Your kernel does not support " + l.text)
			*l.list = nil
		}
	}
}

// spec is the limits with the devices' present numbers.
func (b *BlockIO) spec() (*specs.LinuxBlockIO, error) {
	if b == nil {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	s := &specs.LinuxBlockIO{}
	if b.Weight > 0 {
		s.Weight = &b.Weight
	}
	for _, d := range b.WeightDevices {
		major, minor, err := deviceNumber(d.Path)
		if err != nil {
			return nil, err
		}
		w := specs.LinuxWeightDevice{Weight: &d.Weight}
		w.Major, w.Minor = major, minor
		s.WeightDevice = append(s.WeightDevice, w)
	}
	for _, l := range []struct {
		from []DeviceRate
		to   *[]specs.LinuxThrottleDevice
	}{
		{b.ReadBps, &s.ThrottleReadBpsDevice},
		{b.WriteBps, &s.ThrottleWriteBpsDevice},
		{b.ReadIOPS, &s.ThrottleReadIOPSDevice},
		{b.WriteIOPS, &s.ThrottleWriteIOPSDevice},
	} {
		for _, d := range l.from {
			major, minor, err := deviceNumber(d.Path)
			if err != nil {
				return nil, err
			}
			t := specs.LinuxThrottleDevice{Rate: d.Rate}
			t.Major, t.Minor = major, minor
			*l.to = append(*l.to, t)
		}
	}
	return s, nil
}

func deviceNumber(file string) (major, minor int64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return 0, 0, fmt.Errorf("blkio_config: stat %s: %w", file, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, fmt.Errorf("blkio_config: %s is no block device", file)
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}

// cgroupsPath is where the container's cgroup is: "" for the engine's own place, below which a relative parent is, too. A
// systemd slice is where systemd has it: a-b.slice is in a.slice, systemd.slice(5).
func (c *Config) cgroupsPath() string {
	parent := c.CgroupParent
	name, isSlice := strings.CutSuffix(parent, ".slice")
	switch {
	case parent == "":
		return ""
	case !isSlice || strings.Contains(parent, "/"):
		return path.Join(parent, c.ID)
	case name == "-":
		return "/" + c.ID
	}
	full, prefix := "/", ""
	for part := range strings.SplitSeq(name, "-") {
		prefix += part
		full = path.Join(full, prefix+".slice")
		prefix += "-"
	}
	return path.Join(full, c.ID)
}
