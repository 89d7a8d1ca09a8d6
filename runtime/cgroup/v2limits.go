package cgroup

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func (g *v2) Set(res *specs.LinuxResources) error {
	if res == nil {
		return nil
	}
	for _, step := range []func(*specs.LinuxResources) error{
		refuseV1Only, g.setDevices, g.setMemory, g.setCPU, g.setPids, g.setIO, g.setHugetlb, g.setUnified,
	} {
		if err := step(res); err != nil {
			return err
		}
	}
	return nil
}

func (g *v2) set(file, value string) error { return write(g.Dir(), file, value) }

func (g *v2) setMemory(res *specs.LinuxResources) error {
	m := res.Memory
	if m == nil {
		return nil
	}
	if m.Swap != nil && *m.Swap != 0 {
		value, err := swapMax(m)
		if err != nil {
			return err
		}
		// Without swap in the kernel there is nothing to limit.
		if err := g.set("memory.swap.max", value); err != nil && *m.Swap > 0 && m.Limit != nil && *m.Swap != *m.Limit {
			return err
		}
	}
	if m.Limit != nil && *m.Limit != 0 {
		if err := g.set("memory.max", orMax(*m.Limit)); err != nil {
			return err
		}
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		return g.set("memory.low", orMax(*m.Reservation))
	}
	return nil
}

// swapMax turns v1's sum of memory and swap into v2's swap alone.
func swapMax(m *specs.LinuxMemory) (string, error) {
	if *m.Swap < 0 {
		return "max", nil
	}
	if m.Limit == nil || *m.Limit <= 0 {
		return "", fmt.Errorf("set memory+swap limit: it needs a memory limit")
	}
	if *m.Swap < *m.Limit {
		return "", fmt.Errorf("set memory+swap limit: %d is below the memory limit %d", *m.Swap, *m.Limit)
	}
	return strconv.FormatInt(*m.Swap-*m.Limit, 10), nil
}

func orMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func (g *v2) setCPU(res *specs.LinuxResources) error {
	c := res.CPU
	if c == nil {
		return nil
	}
	if c.Idle != nil && *c.Idle != 0 {
		if err := g.set("cpu.idle", strconv.FormatInt(*c.Idle, 10)); err != nil {
			return err
		}
	} else if c.Shares != nil && *c.Shares != 0 {
		if err := g.set("cpu.weight", strconv.FormatUint(cpuWeight(*c.Shares), 10)); err != nil {
			return err
		}
	}
	if c.Quota != nil || c.Period != nil {
		if err := g.set("cpu.max", cpuMax(c)); err != nil {
			return err
		}
	}
	if c.Burst != nil {
		if err := g.set("cpu.max.burst", strconv.FormatUint(*c.Burst, 10)); err != nil {
			return err
		}
	}
	if c.Cpus != "" {
		if err := g.set("cpuset.cpus", c.Cpus); err != nil {
			return err
		}
	}
	if c.Mems != "" {
		return g.set("cpuset.mems", c.Mems)
	}
	return nil
}

// cpuWeight maps v1's shares (2 to 262144, default 1024) to v2's weight (1 to
// 10000, default 100) so that all three points meet: the quadratic function of
// the OCI runtimes since 2025 (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value).
func cpuWeight(shares uint64) uint64 {
	if shares <= 2 {
		return 1
	}
	if shares >= 262144 {
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

func cpuMax(c *specs.LinuxCPU) string {
	quota := "max"
	if c.Quota != nil && *c.Quota > 0 {
		quota = strconv.FormatInt(*c.Quota, 10)
	}
	if c.Period != nil && *c.Period != 0 {
		return quota + " " + strconv.FormatUint(*c.Period, 10)
	}
	return quota
}

func (g *v2) setPids(res *specs.LinuxResources) error {
	if res.Pids == nil || res.Pids.Limit == nil {
		return nil
	}
	return g.set("pids.max", pidsMax(*res.Pids.Limit))
}

func (g *v2) setIO(res *specs.LinuxResources) error {
	b := res.BlockIO
	if b == nil {
		return nil
	}
	if b.Weight != nil && *b.Weight != 0 {
		if err := g.setIOWeight("default ", *b.Weight); err != nil {
			return err
		}
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil {
			if err := g.setIOWeight(fmt.Sprintf("%d:%d ", d.Major, d.Minor), *d.Weight); err != nil {
				return err
			}
		}
	}
	for key, list := range map[string][]specs.LinuxThrottleDevice{
		"rbps": b.ThrottleReadBpsDevice, "wbps": b.ThrottleWriteBpsDevice,
		"riops": b.ThrottleReadIOPSDevice, "wiops": b.ThrottleWriteIOPSDevice,
	} {
		for _, d := range list {
			if err := g.set("io.max", fmt.Sprintf("%d:%d %s=%d", d.Major, d.Minor, key, d.Rate)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setIOWeight takes v1's weight (10 to 1000): BFQ keeps that scale, io.weight has
// 1 to 10000.
func (g *v2) setIOWeight(prefix string, weight uint16) error {
	if err := g.set("io.bfq.weight", strings.TrimPrefix(prefix, "default ")+strconv.Itoa(int(weight))); err == nil {
		return nil
	}
	scaled := 1 + (uint64(max(weight, 10))-10)*9999/990
	return g.set("io.weight", prefix+strconv.FormatUint(scaled, 10))
}

func (g *v2) setHugetlb(res *specs.LinuxResources) error {
	for _, l := range res.HugepageLimits {
		if strings.ContainsAny(l.Pagesize, "/.") {
			return fmt.Errorf("set huge page limit: invalid page size %q", l.Pagesize)
		}
		if err := g.set("hugetlb."+l.Pagesize+".max", strconv.FormatUint(l.Limit, 10)); err != nil {
			return err
		}
	}
	return nil
}

func (g *v2) setUnified(res *specs.LinuxResources) error {
	for _, file := range slices.Sorted(maps.Keys(res.Unified)) {
		if strings.Contains(file, "/") {
			return fmt.Errorf("set unified cgroup value: invalid name %q", file)
		}
		if err := g.set(file, res.Unified[file]); err != nil {
			return err
		}
	}
	return nil
}
