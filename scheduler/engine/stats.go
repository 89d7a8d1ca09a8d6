package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"tutti/netdriver"
	"tutti/runtime"
	"tutti/runtime/cgroup"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// statsInterval is the time between two samples, docker's.
const statsInterval = time.Second

// ContainerStats hands docker's statistics of a container to emit: with stream every second until ctx is done, otherwise
// once, after a second, so that the times of the CPU have something to be compared with; oneShot does without that.
func (e *Engine) ContainerStats(ctx context.Context, name string, stream, oneShot bool, emit func(apicontainer.StatsResponse) error) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	last := e.sample(u)
	if oneShot || !stream && last.Read.IsZero() {
		return emit(last)
	}
	if stream {
		if err := emit(last); err != nil {
			return err
		}
	}
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		s := e.sample(u)
		s.PreRead, s.PreCPUStats = last.Read, last.CPUStats
		last = s
		if err := emit(s); err != nil || !stream {
			return err
		}
		if u.isRemoved() {
			return nil
		}
	}
}

// Stats hands what a project's containers use to emit, in the order of their names: with stream every second until ctx is
// done, otherwise once. Without all only those that run are told.
func (e *Engine) Stats(ctx context.Context, project string, services []string, all, stream bool, emit func([]api.Usage) error) error {
	return e.stats(ctx, func() []*Unit {
		return e.SelectUnits(func(c *container.Config) bool {
			return c.Project == project && (len(services) == 0 || slices.Contains(services, c.Service))
		})
	}, all, stream, emit)
}

// StatsOf is Stats of the containers with these names or ids, in this order, whether they run or not and until the last of
// them is removed; without any, of the containers of all projects as they come and go, the newest first.
func (e *Engine) StatsOf(ctx context.Context, containers []string, all, stream bool, emit func([]api.Usage) error) error {
	if len(containers) == 0 {
		return e.stats(ctx, func() []*Unit {
			list := e.SelectUnits(func(*container.Config) bool { return true })
			slices.SortStableFunc(list, func(a, b *Unit) int { return b.Config.Created.Compare(a.Config.Created) })
			return list
		}, all, stream, emit)
	}
	var chosen []*Unit
	for _, name := range containers {
		u, err := e.FindUnit(name)
		if err != nil {
			return err
		}
		chosen = append(chosen, u)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return e.stats(ctx, func() []*Unit {
		chosen = slices.DeleteFunc(chosen, (*Unit).isRemoved)
		return chosen
	}, true, stream, func(list []api.Usage) error {
		if len(list) == 0 {
			cancel()
			return nil
		}
		return emit(list)
	})
}

func (e *Engine) stats(ctx context.Context, units func() []*Unit, all, stream bool, emit func([]api.Usage) error) error {
	last := map[string]apicontainer.StatsResponse{}
	measure := func() []api.Usage {
		list := []api.Usage{}
		now := map[string]apicontainer.StatsResponse{}
		for _, u := range units() {
			if !all && !u.Snapshot().Alive() {
				continue
			}
			s := e.sample(u)
			if before, ok := last[u.ID]; ok {
				s.PreRead, s.PreCPUStats = before.Read, before.CPUStats
			}
			now[u.ID] = s
			list = append(list, usage(u, s))
		}
		last = now
		return list
	}
	measure()
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := emit(measure()); err != nil || !stream {
			return err
		}
	}
}

// usage computes what docker's client shows from two samples.
func usage(u *Unit, s apicontainer.StatsResponse) api.Usage {
	r := api.Usage{ID: u.ID, Name: u.Name(), Service: u.Config.Service, Running: !s.Read.IsZero(), MemoryLimit: s.MemoryStats.Limit, Pids: s.PidsStats.Current}
	r.Memory = s.MemoryStats.Usage
	if cache := s.MemoryStats.Stats["inactive_file"]; cache < r.Memory {
		r.Memory -= cache
	}
	if r.MemoryLimit > 0 {
		r.MemoryPercent = 100 * float64(r.Memory) / float64(r.MemoryLimit)
	}
	cpu := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	system := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	if !s.PreRead.IsZero() && cpu > 0 && system > 0 {
		r.CPUPercent = 100 * cpu / system * float64(s.CPUStats.OnlineCPUs)
	}
	for _, n := range s.Networks {
		r.NetRx += n.RxBytes
		r.NetTx += n.TxBytes
	}
	for _, b := range s.BlkioStats.IoServiceBytesRecursive {
		switch b.Op {
		case "read":
			r.BlockRead += b.Value
		case "write":
			r.BlockWrite += b.Value
		}
	}
	return r
}

// sample reads the counters of a container in docker's shape. One that does not run has a zero Read and no numbers.
func (e *Engine) sample(u *Unit) apicontainer.StatsResponse {
	s := apicontainer.StatsResponse{ID: u.ID, Name: "/" + u.Name(), OSType: "linux"}
	p := u.Running()
	if p == nil {
		return s
	}
	c, err := p.Stats()
	if err != nil {
		return s // it has just ended
	}
	s.Read = time.Now().UTC()
	s.CPUStats = cpuStats(c.CPU)
	if s.CPUStats.SystemUsage, s.CPUStats.OnlineCPUs, err = hostCPU(); err != nil {
		e.Log.Warn("read the host's CPU times", "error", err)
	}
	s.MemoryStats = memoryStats(c.Memory)
	s.PidsStats = apicontainer.PidsStats{Current: c.Pids.Current, Limit: c.Pids.Limit}
	for _, d := range c.IO {
		add := func(list *[]apicontainer.BlkioStatEntry, op string, v uint64) {
			*list = append(*list, apicontainer.BlkioStatEntry{Major: d.Major, Minor: d.Minor, Op: op, Value: v})
		}
		add(&s.BlkioStats.IoServiceBytesRecursive, "read", d.ReadBytes)
		add(&s.BlkioStats.IoServiceBytesRecursive, "write", d.WriteBytes)
		add(&s.BlkioStats.IoServicedRecursive, "read", d.ReadOps)
		add(&s.BlkioStats.IoServicedRecursive, "write", d.WriteOps)
	}
	s.Networks = networkStats(u, p)
	return s
}

func cpuStats(c cgroup.CPUStats) apicontainer.CPUStats {
	return apicontainer.CPUStats{
		CPUUsage: apicontainer.CPUUsage{
			TotalUsage: nanoseconds(c.Usage), UsageInUsermode: nanoseconds(c.User), UsageInKernelmode: nanoseconds(c.System),
		},
		ThrottlingData: apicontainer.ThrottlingData{Periods: c.Periods, ThrottledPeriods: c.Throttled, ThrottledTime: nanoseconds(c.ThrottledTime)},
	}
}

func nanoseconds(d time.Duration) uint64 { return uint64(max(d, 0).Nanoseconds()) } //nolint:gosec // not negative

// memoryStats are a container's memory; without a limit of its own the host's memory is the limit, as with docker.
func memoryStats(m cgroup.MemoryStats) apicontainer.MemoryStats {
	s := apicontainer.MemoryStats{Usage: m.Usage, MaxUsage: m.Peak, Limit: m.Limit, Stats: map[string]uint64{"inactive_file": m.InactiveFile}}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		host := uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits elsewhere
		if s.Limit == 0 || s.Limit > host {
			s.Limit = host
		}
	}
	return s
}

// networkStats are the counters of the container's own interfaces; there are none for one on the host's network.
func networkStats(u *Unit, p *runtime.Container) map[string]apicontainer.NetworkStats {
	if u.Config.NetworkMode == "host" {
		return nil
	}
	counters, err := netdriver.ReadCounters(p.Pid())
	if err != nil {
		return nil // it has just ended
	}
	all := map[string]apicontainer.NetworkStats{}
	for name, c := range counters {
		all[name] = apicontainer.NetworkStats{
			RxBytes: c.RxBytes, RxPackets: c.RxPackets, RxErrors: c.RxErrors, RxDropped: c.RxDropped,
			TxBytes: c.TxBytes, TxPackets: c.TxPackets, TxErrors: c.TxErrors, TxDropped: c.TxDropped,
		}
	}
	return all
}

// hostCPU is the time in ns that all CPUs of the host have spent together, idle or not, and how many they are: the first
// seven numbers of the line "cpu" in /proc/stat, in hundredths of seconds, proc_stat(5).
func hostCPU() (spent uint64, cpus uint32, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) < 8 || !strings.HasPrefix(f[0], "cpu"):
		case f[0] == "cpu":
			for _, v := range f[1:8] {
				n, err := strconv.ParseUint(v, 10, 64)
				if err != nil {
					return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
				}
				spent += n * uint64(time.Second/100)
			}
		default:
			cpus++
		}
	}
	if cpus == 0 {
		return 0, 0, errors.New("read /proc/stat: there are no CPUs in it")
	}
	return spent, cpus, nil
}
