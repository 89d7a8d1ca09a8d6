package container

import (
	"errors"
	"fmt"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Limits that docker demands (moby, daemon/daemon_unix.go, verifyPlatformContainerResources).
const (
	minMemory  = 6 << 20 // bytes
	cfsPeriod  = 100_000 // microseconds: the period that cpus is counted in
	minPeriod  = 1_000
	maxPeriod  = 1_000_000
	minQuota   = 1_000
	maxSwappy  = 100
	minWeight  = 10
	maxWeight  = 1000
	unlimited  = -1
	maxOOMAdj  = 1000
	noPidLimit = 0
)

// BlockIO limits the input and output of block devices, by their paths: a device's number may be another after a reboot.
type BlockIO struct {
	Weight        uint16         `json:"weight,omitempty"` // 10 to 1000
	WeightDevices []WeightDevice `json:"weightDevices,omitempty"`
	ReadBps       []DeviceRate   `json:"readBps,omitempty"`  // bytes per second
	WriteBps      []DeviceRate   `json:"writeBps,omitempty"` // bytes per second
	ReadIOPS      []DeviceRate   `json:"readIOPS,omitempty"`
	WriteIOPS     []DeviceRate   `json:"writeIOPS,omitempty"`
}

// WeightDevice is the weight of one device, 10 to 1000.
type WeightDevice struct {
	Path   string `json:"path"`
	Weight uint16 `json:"weight"`
}

// DeviceRate is a limit per second for one device.
type DeviceRate struct {
	Path string `json:"path"`
	Rate uint64 `json:"rate"`
}

// ServiceLimits are the limits of the service. What no host could do is an error with docker's words; what this host cannot do
// is for Fit to say.
func ServiceLimits(s types.ServiceConfig) (l Limits, err error) {
	l.CPUs = cpuCount(s)
	return l, firstError(
		func() (err error) { l.Resources, err = resources(s); return },
		func() (err error) { l.BlockIO, err = blockIO(s); return },
	)
}

// resources are the limits of the service: the flat keys (mem_limit, cpus ...) and deploy.resources, which wins. What no
// host could do is an error with docker's words; what this host cannot do is for Fit to say.
func resources(s types.ServiceConfig) (specs.LinuxResources, error) {
	memory, reservation := int64(s.MemLimit), int64(s.MemReservation)
	pids := s.PidsLimit
	if d := s.Deploy; d != nil {
		if l := d.Resources.Limits; l != nil {
			memory, pids = or(int64(l.MemoryBytes), memory), or(l.Pids, pids)
		}
		if r := d.Resources.Reservations; r != nil {
			reservation = or(int64(r.MemoryBytes), reservation)
		}
	}
	if s.OomScoreAdj < -maxOOMAdj || s.OomScoreAdj > maxOOMAdj {
		return specs.LinuxResources{}, fmt.Errorf("oom_score_adj: %d is not between -1000 and 1000", s.OomScoreAdj)
	}
	var r specs.LinuxResources
	var err error
	if r.Memory, err = memoryLimits(s, memory, reservation); err != nil {
		return r, err
	}
	if r.CPU, err = cpuLimits(s, cpuCount(s)); err != nil {
		return r, err
	}
	if pids != noPidLimit {
		if pids < unlimited {
			return r, fmt.Errorf("pids_limit: %d is neither a number of processes nor -1 for no limit", pids)
		}
		r.Pids = &specs.LinuxPids{Limit: &pids}
	}
	return r, nil
}

// cpuCount is how many processors the service may use at most; 0: as many as there are.
func cpuCount(s types.ServiceConfig) float64 {
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		return or(float64(s.Deploy.Resources.Limits.NanoCPUs), float64(s.CPUS))
	}
	return float64(s.CPUS)
}

func memoryLimits(s types.ServiceConfig, memory, reservation int64) (*specs.LinuxMemory, error) {
	swap, swappiness := int64(s.MemSwapLimit), int64(s.MemSwappiness)
	switch {
	case memory < 0 || reservation < 0:
		return nil, errors.New("mem_limit, mem_reservation: a size cannot be negative")
	case memory != 0 && memory < minMemory:
		return nil, errors.New("mem_limit: minimum memory limit allowed is 6MB")
	case memory == 0 && swap > 0:
		return nil, errors.New("memswap_limit: you should always set the memory limit when using memoryswap limit")
	case swap < unlimited:
		return nil, errors.New("memswap_limit: it is a size, or -1 for unlimited swap")
	case swap > 0 && swap < memory:
		return nil, errors.New("memswap_limit: minimum memoryswap limit should be larger than memory limit")
	case swappiness < 0 || swappiness > maxSwappy:
		return nil, fmt.Errorf("mem_swappiness: invalid value %d, valid memory swappiness range is 0-100", swappiness)
	case reservation != 0 && reservation < minMemory:
		return nil, errors.New("mem_reservation: minimum memory reservation allowed is 6MB")
	case memory > 0 && reservation > memory:
		return nil, errors.New("mem_limit: minimum memory limit can not be less than memory reservation limit")
	case memory == 0 && reservation == 0 && swappiness == 0 && !s.OomKillDisable:
		return nil, nil //nolint:nilnil // nothing is limited
	}
	m := &specs.LinuxMemory{Limit: positive(memory), Reservation: positive(reservation)}
	if memory > 0 {
		swap = or(swap, 2*memory) // docker: as much swap as memory
		m.Swap = &swap
	}
	if swappiness > 0 {
		v := uint64(swappiness)
		m.Swappiness = &v
	}
	if s.OomKillDisable {
		m.DisableOOMKiller = &s.OomKillDisable
	}
	return m, nil
}

func cpuLimits(s types.ServiceConfig, cpus float64) (*specs.LinuxCPU, error) {
	switch {
	case cpus < 0:
		return nil, fmt.Errorf("cpus: %g is negative", cpus)
	case cpus > 0 && s.CPUPeriod > 0:
		return nil, errors.New("conflicting options: cpus and cpu_period cannot both be set")
	case cpus > 0 && s.CPUQuota > 0:
		return nil, errors.New("conflicting options: cpus and cpu_quota cannot both be set")
	case s.CPUPeriod != 0 && (s.CPUPeriod < minPeriod || s.CPUPeriod > maxPeriod):
		return nil, errors.New("cpu_period: CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case s.CPUQuota > 0 && s.CPUQuota < minQuota:
		return nil, errors.New("cpu_quota: CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case s.CPUShares < 0:
		return nil, fmt.Errorf("cpu_shares: invalid value %d, it must be at least 0", s.CPUShares)
	case s.CPURTPeriod < 0 || s.CPURTRuntime < 0:
		return nil, errors.New("cpu_rt_period, cpu_rt_runtime: a time cannot be negative")
	case s.CPURTPeriod > 0 && s.CPURTRuntime > s.CPURTPeriod:
		return nil, errors.New("cpu_rt_runtime: cpu real-time runtime cannot be higher than cpu real-time period")
	}
	c := &specs.LinuxCPU{
		Cpus: strings.TrimSpace(s.CPUSet), Quota: positive(s.CPUQuota), Shares: natural(s.CPUShares), Period: natural(s.CPUPeriod),
		RealtimePeriod: natural(s.CPURTPeriod), RealtimeRuntime: positive(s.CPURTRuntime),
	}
	if cpus > 0 {
		period, quota := uint64(cfsPeriod), int64(cpus*cfsPeriod)
		c.Period, c.Quota = &period, &quota
	}
	if *c == (specs.LinuxCPU{}) {
		return nil, nil //nolint:nilnil // nothing is limited
	}
	return c, nil
}

// blockIO reads blkio_config; nil without one.
func blockIO(s types.ServiceConfig) (*BlockIO, error) {
	b := s.BlkioConfig
	if b == nil {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	io := &BlockIO{Weight: b.Weight, ReadBps: rates(b.DeviceReadBps), WriteBps: rates(b.DeviceWriteBps), ReadIOPS: rates(b.DeviceReadIOps), WriteIOPS: rates(b.DeviceWriteIOps)}
	outside := func(w uint16) bool { return w != 0 && (w < minWeight || w > maxWeight) }
	if outside(b.Weight) {
		return nil, errors.New("blkio_config.weight: range of blkio weight is from 10 to 1000")
	}
	for _, d := range b.WeightDevice {
		if outside(d.Weight) {
			return nil, fmt.Errorf("blkio_config.weight_device: %s: range of blkio weight is from 10 to 1000", d.Path)
		}
		io.WeightDevices = append(io.WeightDevices, WeightDevice{Path: d.Path, Weight: d.Weight})
	}
	return io, nil
}

func rates(list []types.ThrottleDevice) []DeviceRate {
	var all []DeviceRate
	for _, d := range list {
		all = append(all, DeviceRate{Path: d.Path, Rate: uint64(max(d.Rate, 0))}) //nolint:gosec // not negative
	}
	return all
}

// cgroupParent checks the key of that name: a path, or a systemd slice.
func cgroupParent(s types.ServiceConfig) (string, error) {
	p := s.CgroupParent
	if strings.ContainsAny(p, "\n\x00") {
		return "", fmt.Errorf("cgroup_parent: %q has a control character", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return "", fmt.Errorf("cgroup_parent: %q must not contain .. as a part", p)
		}
	}
	return p, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v != zero {
		return v
	}
	return otherwise
}

func positive(v int64) *int64 {
	if v <= 0 {
		return nil
	}
	return &v
}

func natural(v int64) *uint64 {
	if v <= 0 {
		return nil
	}
	u := uint64(v)
	return &u
}
