package fromdocker

import (
	"fmt"
	"math"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/blkiodev"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/cdi"
	"tutti/scheduler/container"
)

// limits are the cgroup's, and what the kernel limits per process.
func (w *Wanted) limits() error {
	r := w.host.Resources
	if err := Limits(&w.Service, r); err != nil {
		return err
	}
	s := &w.Service
	s.CgroupParent, s.OomScoreAdj = r.CgroupParent, int64(w.host.OomScoreAdj)
	s.DeviceCgroupRules = r.DeviceCgroupRules
	for _, d := range r.Devices {
		s.Devices = append(s.Devices, types.DeviceMapping{Source: d.PathOnHost, Target: d.PathInContainer, Permissions: d.CgroupPermissions})
	}
	for _, u := range r.Ulimits {
		if u == nil {
			return inWords("Ulimits: an entry is null")
		}
		if s.Ulimits == nil {
			s.Ulimits = map[string]*types.UlimitsConfig{}
		}
		s.Ulimits[u.Name] = &types.UlimitsConfig{Soft: int(u.Soft), Hard: int(u.Hard)}
	}
	return nil
}

// Limits says in compose's terms what limits a client of docker's API wants; what compose has no word for adds [FinishLimits].
func Limits(s *types.ServiceConfig, r apicontainer.Resources) error {
	s.MemLimit, s.MemReservation, s.MemSwapLimit = types.UnitBytes(r.Memory), types.UnitBytes(r.MemoryReservation), types.UnitBytes(r.MemorySwap)
	if n := r.MemorySwappiness; n != nil && *n != -1 {
		if *n < 0 || *n > 100 {
			return fmt.Errorf("invalid value: %d, valid memory swappiness range is 0-100", *n)
		}
		s.MemSwappiness = types.UnitBytes(*n)
	}
	s.OomKillDisable = r.OomKillDisable != nil && *r.OomKillDisable
	if r.PidsLimit != nil {
		s.PidsLimit = *r.PidsLimit
	}
	switch {
	case r.NanoCPUs < 0:
		return inWords("NanoCpus: %d is negative", r.NanoCPUs)
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return fmt.Errorf("conflicting options: Nano CPUs and CPU Period cannot both be set")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return fmt.Errorf("conflicting options: Nano CPUs and CPU Quota cannot both be set")
	}
	s.CPUS = float32(float64(r.NanoCPUs) / 1e9)
	s.CPUShares, s.CPUPeriod, s.CPUQuota = r.CPUShares, r.CPUPeriod, r.CPUQuota
	s.CPURTPeriod, s.CPURTRuntime, s.CPUSet = r.CPURealtimePeriod, r.CPURealtimeRuntime, r.CpusetCpus
	b := &types.BlkioConfig{Weight: r.BlkioWeight}
	for _, d := range r.BlkioWeightDevice {
		if d == nil {
			return inWords("BlkioWeightDevice: an entry is null")
		}
		b.WeightDevice = append(b.WeightDevice, types.WeightDevice{Path: d.Path, Weight: d.Weight})
	}
	for _, l := range []struct {
		name string
		from []*blkiodev.ThrottleDevice
		to   *[]types.ThrottleDevice
	}{
		{"BlkioDeviceReadBps", r.BlkioDeviceReadBps, &b.DeviceReadBps},
		{"BlkioDeviceWriteBps", r.BlkioDeviceWriteBps, &b.DeviceWriteBps},
		{"BlkioDeviceReadIOps", r.BlkioDeviceReadIOps, &b.DeviceReadIOps},
		{"BlkioDeviceWriteIOps", r.BlkioDeviceWriteIOps, &b.DeviceWriteIOps},
	} {
		for _, d := range l.from {
			if d == nil || d.Rate > math.MaxInt64 {
				return fmt.Errorf("%s: an entry is null, or its rate is too high", l.name)
			}
			*l.to = append(*l.to, types.ThrottleDevice{Path: d.Path, Rate: types.UnitBytes(d.Rate)})
		}
	}
	if b.Weight > 0 || len(b.WeightDevice)+len(b.DeviceReadBps)+len(b.DeviceWriteBps)+len(b.DeviceReadIOps)+len(b.DeviceWriteIOps) > 0 {
		s.BlkioConfig = b
	}
	return nil
}

func (w *Wanted) finishLimits(c *container.Config) { FinishLimits(&c.Limits, w.host.Resources) }

// FinishLimits adds to limits what compose has no word for: a swappiness of 0, memory nodes, a number of processors as exact as
// docker's.
func FinishLimits(l *container.Limits, r apicontainer.Resources) {
	if n := r.MemorySwappiness; n != nil && *n == 0 {
		if l.Resources.Memory == nil {
			l.Resources.Memory = &specs.LinuxMemory{}
		}
		l.Resources.Memory.Swappiness = new(uint64)
	}
	if r.CpusetMems != "" {
		if l.Resources.CPU == nil {
			l.Resources.CPU = &specs.LinuxCPU{}
		}
		l.Resources.CPU.Mems = r.CpusetMems
	}
	if r.NanoCPUs > 0 {
		l.CPUs = float64(r.NanoCPUs) / 1e9
		quota := r.NanoCPUs * int64(*l.Resources.CPU.Period) / 1e9 //nolint:gosec // 100,000
		l.Resources.CPU.Quota = &quota
	}
}

// deviceRequests are requests for devices by what they can do. Of several sets of capabilities the first is asked for.
func deviceRequests(list []apicontainer.DeviceRequest) []cdi.Request {
	var all []cdi.Request
	for _, d := range list {
		r := cdi.Request{Attribute: "devices", Driver: d.Driver, Count: d.Count, IDs: d.DeviceIDs}
		if len(d.Capabilities) > 0 {
			r.Capabilities = slices.Clone(d.Capabilities[0])
		}
		all = append(all, r)
	}
	return all
}
