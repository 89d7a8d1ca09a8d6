package fromdocker

import (
	"fmt"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/blkiodev"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/scheduler/container"
	"tutti/scheduler/supervise"
)

// Update is the body of POST /containers/{id}/update, with what only older clients send.
type Update struct {
	apicontainer.UpdateConfig
	KernelMemory int64 // before API 1.42
}

// Apply is what an update makes of a container's limits and restart policy (moby, container/container_unix.go,
// UpdateContainer). c is the container as it is now. What docker would pass over in silence is refused.
func (q Update) Apply(c *container.Config) (container.Updated, []string, error) {
	u := container.Updated{Limits: c.Limits, Restart: c.Restart}
	var warnings []string
	if q.KernelMemory != 0 {
		warnings = append(warnings, "KernelMemory is discarded: the kernel limits it with all other memory")
	}
	if err := q.fixed(); err != nil {
		return u, nil, err
	}
	if p := q.RestartPolicy; p.Name != "" {
		if err := CheckRestart(p); err != nil {
			return u, nil, err
		}
		if c.AutoRemove && !p.IsNone() {
			return u, nil, inWords("Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		u.Restart = supervise.RestartPolicy{Name: string(p.Name), MaxRetries: p.MaximumRetryCount}
	}
	r := Resources(c)
	if err := q.merge(&r); err != nil {
		return u, nil, err
	}
	var s types.ServiceConfig
	err := Limits(&s, r)
	if err == nil {
		u.Limits, err = container.ServiceLimits(s)
	}
	if err != nil {
		return u, nil, err
	}
	FinishLimits(&u.Limits, r)
	if p := q.PidsLimit; p != nil && *p <= 0 { // written, or the limit that there is would stay
		none := int64(-1)
		u.Resources.Pids = &specs.LinuxPids{Limit: &none}
	}
	return u, warnings, nil
}

// fixed refuses limits that are those of a container's creation.
func (q Update) fixed() error {
	r := q.Resources
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"CgroupParent", r.CgroupParent != ""},
		{"BlkioWeightDevice", len(r.BlkioWeightDevice) > 0},
		{"BlkioDeviceReadBps", len(r.BlkioDeviceReadBps) > 0},
		{"BlkioDeviceWriteBps", len(r.BlkioDeviceWriteBps) > 0},
		{"BlkioDeviceReadIOps", len(r.BlkioDeviceReadIOps) > 0},
		{"BlkioDeviceWriteIOps", len(r.BlkioDeviceWriteIOps) > 0},
		{"Devices", len(r.Devices) > 0},
		{"DeviceCgroupRules", len(r.DeviceCgroupRules) > 0},
		{"DeviceRequests", len(r.DeviceRequests) > 0},
		{"MemorySwappiness", r.MemorySwappiness != nil && *r.MemorySwappiness != -1},
		{"OomKillDisable", r.OomKillDisable != nil && *r.OomKillDisable},
		{"Ulimits", len(r.Ulimits) > 0},
		{"CpuCount", r.CPUCount != 0},
		{"CpuPercent", r.CPUPercent != 0},
		{"IOMaximumIOps", r.IOMaximumIOps != 0},
		{"IOMaximumBandwidth", r.IOMaximumBandwidth != 0},
	} {
		if f.set {
			return fmt.Errorf("%s cannot be updated: a container has it from its creation on", f.name)
		}
	}
	return nil
}

// merge puts what is given over what there is.
func (q Update) merge(to *apicontainer.Resources) error {
	r := q.Resources
	switch {
	case r.NanoCPUs > 0 && to.CPUPeriod > 0:
		return fmt.Errorf("conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")
	case r.NanoCPUs > 0 && to.CPUQuota > 0:
		return fmt.Errorf("conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
	case r.CPUPeriod > 0 && to.NanoCPUs > 0:
		return fmt.Errorf("conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
	case r.CPUQuota > 0 && to.NanoCPUs > 0:
		return fmt.Errorf("conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
	case r.Memory > to.MemorySwap && r.MemorySwap == 0 && to.MemorySwap > 0:
		return inWords("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	}
	for _, f := range []struct{ to, from *int64 }{
		{&to.CPUShares, &r.CPUShares},
		{&to.NanoCPUs, &r.NanoCPUs},
		{&to.CPUPeriod, &r.CPUPeriod},
		{&to.CPUQuota, &r.CPUQuota},
		{&to.CPURealtimePeriod, &r.CPURealtimePeriod},
		{&to.CPURealtimeRuntime, &r.CPURealtimeRuntime},
		{&to.Memory, &r.Memory},
		{&to.MemorySwap, &r.MemorySwap},
		{&to.MemoryReservation, &r.MemoryReservation},
	} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
	if r.BlkioWeight != 0 {
		to.BlkioWeight = r.BlkioWeight
	}
	if r.CpusetCpus != "" {
		to.CpusetCpus = r.CpusetCpus
	}
	if r.CpusetMems != "" {
		to.CpusetMems = r.CpusetMems
	}
	if r.PidsLimit != nil {
		to.PidsLimit = r.PidsLimit
	}
	return nil
}

// Resources are a container's limits in docker's terms.
func Resources(c *container.Config) apicontainer.Resources {
	j := apicontainer.Resources{CgroupParent: c.CgroupParent, NanoCPUs: int64(c.CPUs*1e9 + 0.5), DeviceCgroupRules: c.Security.DeviceRules}
	if m := c.Resources.Memory; m != nil {
		j.Memory, j.MemorySwap, j.MemoryReservation = valueOf(m.Limit), valueOf(m.Swap), valueOf(m.Reservation)
		j.OomKillDisable = m.DisableOOMKiller
		if m.Swappiness != nil {
			n := int64(*m.Swappiness) //nolint:gosec // up to 100
			j.MemorySwappiness = &n
		}
	}
	if p := c.Resources.CPU; p != nil {
		j.CPUShares, j.CPUPeriod, j.CPUQuota = int64(valueOf(p.Shares)), int64(valueOf(p.Period)), valueOf(p.Quota) //nolint:gosec // below 2^63
		j.CPURealtimePeriod, j.CPURealtimeRuntime = int64(valueOf(p.RealtimePeriod)), valueOf(p.RealtimeRuntime)    //nolint:gosec // below 2^63
		j.CpusetCpus, j.CpusetMems = p.Cpus, p.Mems
		if c.CPUs > 0 { // quota and period are made of it
			j.CPUPeriod, j.CPUQuota = 0, 0
		}
	}
	if p := c.Resources.Pids; p != nil && valueOf(p.Limit) > 0 {
		j.PidsLimit = p.Limit
	}
	if b := c.BlockIO; b != nil {
		j.BlkioWeight = b.Weight
		for _, d := range b.WeightDevices {
			j.BlkioWeightDevice = append(j.BlkioWeightDevice, &blkiodev.WeightDevice{Path: d.Path, Weight: d.Weight})
		}
		j.BlkioDeviceReadBps, j.BlkioDeviceWriteBps = rates(b.ReadBps), rates(b.WriteBps)
		j.BlkioDeviceReadIOps, j.BlkioDeviceWriteIOps = rates(b.ReadIOPS), rates(b.WriteIOPS)
	}
	return j
}

func rates(list []container.DeviceRate) []*blkiodev.ThrottleDevice {
	var all []*blkiodev.ThrottleDevice
	for _, d := range list {
		all = append(all, &blkiodev.ThrottleDevice{Path: d.Path, Rate: d.Rate})
	}
	return all
}

// valueOf is 0 for what is not set.
func valueOf[T int64 | uint64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
