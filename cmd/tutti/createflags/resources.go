package createflags

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"
)

// limits are those that create and update have in common.
type limits struct {
	weight                               uint16
	shares, period, quota, rtPeriod, rtQ int64
	cpus                                 cpus
	cpuset, mems                         string
	memory, reservation, swap            sizeFlag
	pids                                 int64
}

func (l *limits) add(set *pflag.FlagSet) {
	l.swap.unlimited = true
	set.Uint16Var(&l.weight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
	set.Int64Var(&l.period, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	set.Int64Var(&l.quota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	set.Int64Var(&l.rtPeriod, "cpu-rt-period", 0, "Limit CPU real-time period in microseconds")
	set.Int64Var(&l.rtQ, "cpu-rt-runtime", 0, "Limit CPU real-time runtime in microseconds")
	set.Int64VarP(&l.shares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	set.Var(&l.cpus, "cpus", "Number of CPUs")
	set.StringVar(&l.cpuset, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	set.StringVar(&l.mems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	set.VarP(&l.memory, "memory", "m", "Memory limit")
	set.Var(&l.reservation, "memory-reservation", "Memory soft limit")
	set.Var(&l.swap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	set.Int64Var(&l.pids, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
}

func (l *limits) put(to *apicontainer.Resources) {
	to.BlkioWeight, to.CPUShares, to.CPUPeriod, to.CPUQuota = l.weight, l.shares, l.period, l.quota
	to.CPURealtimePeriod, to.CPURealtimeRuntime, to.NanoCPUs = l.rtPeriod, l.rtQ, int64(l.cpus)
	to.CpusetCpus, to.CpusetMems = l.cpuset, l.mems
	to.Memory, to.MemoryReservation, to.MemorySwap = l.memory.n, l.reservation.n, l.swap.n
	if l.pids != 0 {
		to.PidsLimit = &l.pids
	}
}

// Update are the flags of update.
type Update struct {
	limits  limits
	restart string
	set     *pflag.FlagSet
}

// AddUpdate gives a command the flags of update.
func AddUpdate(set *pflag.FlagSet) *Update {
	u := &Update{set: set}
	u.limits.add(set)
	set.StringVar(&u.restart, "restart", "", "Restart policy to apply when a container exits")
	return u
}

// Request is what the flags change.
func (u *Update) Request() (q apicontainer.UpdateConfig, err error) {
	if u.set.NFlag() == 0 {
		return q, errors.New("you must provide one or more flags when using this command")
	}
	u.limits.put(&q.Resources)
	if u.restart != "" {
		q.RestartPolicy, err = restartPolicy(u.restart)
	}
	return q, err
}

func (f *Flags) resources(_ User, r *apicontainer.CreateRequest) error {
	h := r.HostConfig
	f.limits.put(&h.Resources)
	h.OomScoreAdj = f.oomScoreAdj
	if f.oomKillDisable {
		h.OomKillDisable = &f.oomKillDisable
	}
	if f.swappiness < -1 || f.swappiness > 100 {
		return fmt.Errorf("invalid value: %d. Valid memory swappiness range is 0-100", f.swappiness)
	}
	if f.swappiness >= 0 {
		h.MemorySwappiness = &f.swappiness
	}
	for _, text := range f.weightDevices {
		path, weight, ok := strings.Cut(text, ":")
		n, err := strconv.ParseUint(weight, 10, 16)
		if !ok || !strings.HasPrefix(path, "/dev/") || err != nil || n != 0 && (n < 10 || n > 1000) {
			return fmt.Errorf("invalid argument %q for \"--blkio-weight-device\" flag: write /dev/NAME:WEIGHT with a weight of 10 to 1000", text)
		}
		h.BlkioWeightDevice = append(h.BlkioWeightDevice, &blkiodev.WeightDevice{Path: path, Weight: uint16(n)})
	}
	for _, d := range []struct {
		flag  string
		from  []string
		to    *[]*blkiodev.ThrottleDevice
		bytes bool
	}{
		{"device-read-bps", f.readBps, &h.BlkioDeviceReadBps, true},
		{"device-write-bps", f.writeBps, &h.BlkioDeviceWriteBps, true},
		{"device-read-iops", f.readIOPS, &h.BlkioDeviceReadIOps, false},
		{"device-write-iops", f.writeIOPS, &h.BlkioDeviceWriteIOps, false},
	} {
		for _, text := range d.from {
			t, err := throttle(text, d.bytes)
			if err != nil {
				return fmt.Errorf("invalid argument %q for \"--%s\" flag: %w", text, d.flag, err)
			}
			*d.to = append(*d.to, t)
		}
	}
	return nil
}

// throttle reads /dev/NAME:RATE.
func throttle(text string, inBytes bool) (*blkiodev.ThrottleDevice, error) {
	path, rate, ok := strings.Cut(text, ":")
	if !ok || !strings.HasPrefix(path, "/dev/") {
		return nil, fmt.Errorf("bad format for device path: %s", text)
	}
	if inBytes {
		n, err := units.RAMInBytes(rate)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("invalid rate for device: %s: write a number with a unit of kb, mb or gb", text)
		}
		return &blkiodev.ThrottleDevice{Path: path, Rate: uint64(n)}, nil
	}
	n, err := strconv.ParseUint(rate, 10, 63)
	if err != nil || n > math.MaxInt64 {
		return nil, fmt.Errorf("invalid rate for device: %s: write a number", text)
	}
	return &blkiodev.ThrottleDevice{Path: path, Rate: n}, nil
}

func (f *Flags) health(_ User, r *apicontainer.CreateRequest) error {
	durations := []struct {
		flag string
		d    time.Duration
	}{
		{"health-interval", f.healthInterval},
		{"health-timeout", f.healthTimeout},
		{"health-start-period", f.healthStart},
		{"health-start-interval", f.healthStartInterval},
	}
	given := f.healthCommand != "" || f.healthRetries != 0
	for _, d := range durations {
		if d.d < 0 {
			return fmt.Errorf("--%s cannot be negative", d.flag)
		}
		given = given || d.d != 0
	}
	switch {
	case f.healthRetries < 0:
		return errors.New("--health-retries cannot be negative")
	case f.noHealth && given:
		return errors.New("--no-healthcheck conflicts with --health-* options")
	case f.noHealth:
		r.Config.Healthcheck = &apicontainer.HealthConfig{Test: []string{"NONE"}}
		return nil
	case !given:
		return nil
	}
	h := &apicontainer.HealthConfig{
		Interval: f.healthInterval, Timeout: f.healthTimeout, StartPeriod: f.healthStart, StartInterval: f.healthStartInterval, Retries: f.healthRetries,
	}
	if f.healthCommand != "" {
		h.Test = []string{"CMD-SHELL", f.healthCommand}
	}
	r.Config.Healthcheck = h
	return nil
}
