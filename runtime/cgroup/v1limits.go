package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// set writes value to a file of a controller.
func (g *v1) set(controller, file, value string) error {
	dir := g.dir(controller)
	if dir == "" {
		return fmt.Errorf("set %s: %w", file, ErrUnsupported)
	}
	return write(dir, file, value)
}

func (g *v1) Set(res *specs.LinuxResources) error {
	if res == nil {
		return nil
	}
	for _, step := range []func(*specs.LinuxResources) error{
		g.setDevices, g.setMemory, g.setCPU, g.setCpuset, g.setPids, g.setBlkio, g.setHugetlb, g.setNetwork,
	} {
		if err := step(res); err != nil {
			return err
		}
	}
	if len(res.Rdma) > 0 {
		return fmt.Errorf("set limits of RDMA devices: %w", ErrUnsupported)
	}
	if len(res.Unified) > 0 {
		return fmt.Errorf("set unified cgroup values: %w", ErrUnsupported)
	}
	return nil
}

// setDevices writes the rules in their order; each is a write of its own.
func (g *v1) setDevices(res *specs.LinuxResources) error {
	dir := g.dir("devices")
	if len(res.Devices) == 0 || dir == "" {
		return nil
	}
	var files [2]*os.File // deny, allow
	for i, name := range []string{"devices.deny", "devices.allow"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("set device rules: %w", err)
		}
		defer f.Close() //nolint:errcheck // cgroupfs reports errors at write
		files[i] = f
	}
	for _, d := range res.Devices {
		f := files[0]
		if d.Allow {
			f = files[1]
		}
		if _, err := f.WriteString(deviceRule(d)); err != nil {
			return fmt.Errorf("set device rule %q: %w", deviceRule(d), err)
		}
	}
	return nil
}

// deviceRule is "c 1:3 rwm"; "a" for every device.
func deviceRule(d specs.LinuxDeviceCgroup) string {
	number := func(n *int64) string {
		if n == nil || *n < 0 {
			return "*"
		}
		return strconv.FormatInt(*n, 10)
	}
	kind, access := d.Type, d.Access
	if kind == "" {
		kind = "a"
	}
	if access == "" {
		access = "rwm"
	}
	return kind + " " + number(d.Major) + ":" + number(d.Minor) + " " + access
}

func (g *v1) setMemory(res *specs.LinuxResources) error {
	m := res.Memory
	if m == nil {
		return nil
	}
	limits := []func() error{
		func() error { return g.setInt("memory", "memory.limit_in_bytes", m.Limit) },
		func() error { return g.setInt("memory", "memory.memsw.limit_in_bytes", m.Swap) },
	}
	// memsw may never be below limit: what grows goes first.
	if m.Swap != nil && m.Limit != nil && g.dir("memory") != "" {
		if now := readUint(g.dir("memory"), "memory.memsw.limit_in_bytes"); *m.Limit < 0 || uint64(*m.Limit) > now {
			limits[0], limits[1] = limits[1], limits[0]
		}
	}
	limits = append(limits,
		func() error { return g.setInt("memory", "memory.soft_limit_in_bytes", m.Reservation) },
		func() error { return g.setInt("memory", "memory.kmem.tcp.limit_in_bytes", m.KernelTCP) },
		func() error { return g.setUint("memory", "memory.swappiness", m.Swappiness) },
		func() error {
			if m.DisableOOMKiller == nil || !*m.DisableOOMKiller {
				return nil
			}
			return g.set("memory", "memory.oom_control", "1")
		})
	return inOrder(limits)
}

func (g *v1) setCPU(res *specs.LinuxResources) error {
	c := res.CPU
	if c == nil {
		return nil
	}
	return inOrder([]func() error{
		func() error { return g.setUint("cpu", "cpu.shares", c.Shares) },
		func() error { return g.setUint("cpu", "cpu.cfs_period_us", c.Period) },
		func() error { return g.setInt("cpu", "cpu.cfs_quota_us", c.Quota) },
		func() error { return g.setUint("cpu", "cpu.cfs_burst_us", c.Burst) },
		func() error { return g.setUint("cpu", "cpu.rt_period_us", c.RealtimePeriod) },
		func() error { return g.setRealtime(c) },
		func() error { return g.setInt("cpu", "cpu.idle", c.Idle) },
	})
}

// setRealtime gives the group time for real-time processes. The groups above it, which have none at first, need as much
// for all groups below them (sched-rt-group.rst).
func (g *v1) setRealtime(c *specs.LinuxCPU) error {
	err := g.setInt("cpu", "cpu.rt_runtime_us", c.RealtimeRuntime)
	if !errors.Is(err, syscall.EINVAL) {
		return err
	}
	root := strings.TrimSuffix(g.dir("cpu"), g.path)
	wanted := float64(*c.RealtimeRuntime) / float64(max(readUint(g.dir("cpu"), "cpu.rt_period_us"), 1))
	dir := root
	for part := range strings.SplitSeq(strings.Trim(filepath.Dir(g.path), "/"), "/") {
		if dir = filepath.Join(dir, part); part == "" {
			continue
		}
		runtime := readUint(dir, "cpu.rt_runtime_us") + uint64(math.Ceil(wanted*float64(readUint(dir, "cpu.rt_period_us"))))
		if err := write(dir, "cpu.rt_runtime_us", strconv.FormatUint(runtime, 10)); err != nil {
			return fmt.Errorf("%w: the groups above have no more real-time budget to give", err)
		}
	}
	return g.setInt("cpu", "cpu.rt_runtime_us", c.RealtimeRuntime)
}

func (g *v1) setCpuset(res *specs.LinuxResources) error {
	if res.CPU == nil {
		return nil
	}
	if res.CPU.Cpus != "" {
		if err := g.set("cpuset", "cpuset.cpus", res.CPU.Cpus); err != nil {
			return err
		}
	}
	if res.CPU.Mems != "" {
		return g.set("cpuset", "cpuset.mems", res.CPU.Mems)
	}
	return nil
}

func (g *v1) setPids(res *specs.LinuxResources) error {
	if res.Pids == nil || res.Pids.Limit == nil {
		return nil
	}
	return g.set("pids", "pids.max", pidsMax(*res.Pids.Limit))
}

// pidsMax is the form of pids.max in both versions; 0 and less mean no limit.
func pidsMax(limit int64) string {
	if limit <= 0 {
		return "max"
	}
	return strconv.FormatInt(limit, 10)
}

func (g *v1) setBlkio(res *specs.LinuxResources) error {
	b := res.BlockIO
	if b == nil {
		return nil
	}
	if b.Weight != nil && *b.Weight != 0 {
		if err := g.setWeight("", strconv.Itoa(int(*b.Weight))); err != nil {
			return err
		}
	}
	for _, d := range b.WeightDevice {
		if d.Weight == nil {
			continue
		}
		if err := g.setWeight("_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight)); err != nil {
			return err
		}
	}
	for file, list := range map[string][]specs.LinuxThrottleDevice{
		"blkio.throttle.read_bps_device":   b.ThrottleReadBpsDevice,
		"blkio.throttle.write_bps_device":  b.ThrottleWriteBpsDevice,
		"blkio.throttle.read_iops_device":  b.ThrottleReadIOPSDevice,
		"blkio.throttle.write_iops_device": b.ThrottleWriteIOPSDevice,
	} {
		for _, d := range list {
			if err := g.set("blkio", file, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setWeight sets the weight of whichever scheduler is there: CFQ's file went with
// Linux 5.0, BFQ has its own.
func (g *v1) setWeight(suffix, value string) error {
	if err := g.set("blkio", "blkio.weight"+suffix, value); err == nil {
		return nil
	}
	return g.set("blkio", "blkio.bfq.weight"+suffix, value)
}

func (g *v1) setHugetlb(res *specs.LinuxResources) error {
	for _, l := range res.HugepageLimits {
		// A page size names a file: nothing else may come of it.
		if strings.ContainsAny(l.Pagesize, "/.") {
			return fmt.Errorf("set huge page limit: invalid page size %q", l.Pagesize)
		}
		file := "hugetlb." + l.Pagesize + ".limit_in_bytes"
		if err := g.set("hugetlb", file, strconv.FormatUint(l.Limit, 10)); err != nil {
			return err
		}
	}
	return nil
}

func (g *v1) setNetwork(res *specs.LinuxResources) error {
	n := res.Network
	if n == nil {
		return nil
	}
	if n.ClassID != nil {
		if err := g.set("net_cls", "net_cls.classid", strconv.FormatUint(uint64(*n.ClassID), 10)); err != nil {
			return err
		}
	}
	for _, p := range n.Priorities {
		value := filepath.Base(p.Name) + " " + strconv.FormatUint(uint64(p.Priority), 10)
		if err := g.set("net_prio", "net_prio.ifpriomap", value); err != nil {
			return err
		}
	}
	return nil
}

func (g *v1) setInt(controller, file string, v *int64) error {
	if v == nil || *v == 0 {
		return nil
	}
	return g.set(controller, file, strconv.FormatInt(*v, 10))
}

func (g *v1) setUint(controller, file string, v *uint64) error {
	if v == nil {
		return nil
	}
	return g.set(controller, file, strconv.FormatUint(*v, 10))
}

func inOrder(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
