package cgroup

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Stats are the counters of one group. Limits of 0 mean "no limit".
type Stats struct {
	CPU    CPUStats
	Memory MemoryStats
	Pids   PidsStats
	IO     []IOStats
}

// CPUStats are times since the group was made.
type CPUStats struct {
	Usage, User, System time.Duration
	Periods, Throttled  uint64 // enforcement periods, and those that were throttled
	ThrottledTime       time.Duration
}

// MemoryStats are in bytes.
type MemoryStats struct {
	Usage, Peak, Limit uint64
	// InactiveFile is page cache that costs nothing to drop; docker shows
	// Usage-InactiveFile as a container's memory.
	InactiveFile uint64
	Swap         uint64
	OOMKills     uint64
}

// PidsStats count threads, as the kernel does.
type PidsStats struct{ Current, Limit uint64 }

// IOStats are in bytes and operations for one block device.
type IOStats struct {
	Major, Minor                             uint64
	ReadBytes, WriteBytes, ReadOps, WriteOps uint64
}

// noLimit is where v1's page counter ends: such a limit is none.
const noLimit = 1 << 62

func (g *v1) Stats() (Stats, error) {
	var s Stats
	var err error
	if dir := g.dir("cpuacct"); dir != "" {
		s.CPU.Usage = time.Duration(readUint(dir, "cpuacct.usage"))
		s.CPU.User = time.Duration(readUint(dir, "cpuacct.usage_user"))
		s.CPU.System = time.Duration(readUint(dir, "cpuacct.usage_sys"))
	}
	if dir := g.dir("cpu"); dir != "" {
		m, _ := readFlat(dir, "cpu.stat")
		s.CPU.Periods, s.CPU.Throttled = m["nr_periods"], m["nr_throttled"]
		s.CPU.ThrottledTime = time.Duration(m["throttled_time"])
	}
	if dir := g.dir("memory"); dir != "" {
		m, merr := readFlat(dir, "memory.stat")
		if merr != nil {
			return s, fmt.Errorf("read statistics: %w", merr)
		}
		s.Memory = MemoryStats{
			Usage: readUint(dir, "memory.usage_in_bytes"), Peak: readUint(dir, "memory.max_usage_in_bytes"),
			Limit: readUint(dir, "memory.limit_in_bytes"), InactiveFile: m["total_inactive_file"], Swap: m["total_swap"],
		}
		if s.Memory.Limit > noLimit {
			s.Memory.Limit = 0
		}
		s.Memory.OOMKills, err = g.OOMKills()
	}
	if dir := g.dir("pids"); dir != "" {
		s.Pids = PidsStats{Current: readUint(dir, "pids.current"), Limit: readUint(dir, "pids.max")}
	}
	if dir := g.dir("blkio"); dir != "" {
		s.IO = blkioStats(dir)
	}
	return s, err
}

// blkioStats reads lines of "8:0 Read 4096".
func blkioStats(dir string) []IOStats {
	var list []IOStats
	add := func(file string, field func(*IOStats, string) *uint64) {
		text, err := read(dir, file)
		if err != nil {
			return
		}
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			if d := device(&list, f[0]); d != nil {
				if v := field(d, f[1]); v != nil {
					*v, _ = strconv.ParseUint(f[2], 10, 64)
				}
			}
		}
	}
	add("blkio.throttle.io_service_bytes", func(s *IOStats, op string) *uint64 {
		return map[string]*uint64{"Read": &s.ReadBytes, "Write": &s.WriteBytes}[op]
	})
	add("blkio.throttle.io_serviced", func(s *IOStats, op string) *uint64 {
		return map[string]*uint64{"Read": &s.ReadOps, "Write": &s.WriteOps}[op]
	})
	return list
}

// device finds or adds the entry of "major:minor".
func device(list *[]IOStats, name string) *IOStats {
	a, b, _ := strings.Cut(name, ":")
	major, err1 := strconv.ParseUint(a, 10, 32)
	minor, err2 := strconv.ParseUint(b, 10, 32)
	if err1 != nil || err2 != nil {
		return nil
	}
	for i := range *list {
		if (*list)[i].Major == major && (*list)[i].Minor == minor {
			return &(*list)[i]
		}
	}
	*list = append(*list, IOStats{Major: major, Minor: minor})
	return &(*list)[len(*list)-1]
}

func (g *v2) Stats() (Stats, error) {
	var s Stats
	dir := g.Dir()
	cpu, err := readFlat(dir, "cpu.stat")
	if err != nil {
		return s, fmt.Errorf("read statistics: %w", err)
	}
	usec := func(key string) time.Duration { return time.Duration(cpu[key]) * time.Microsecond }
	s.CPU = CPUStats{
		Usage: usec("usage_usec"), User: usec("user_usec"), System: usec("system_usec"),
		Periods: cpu["nr_periods"], Throttled: cpu["nr_throttled"], ThrottledTime: usec("throttled_usec"),
	}
	mem, _ := readFlat(dir, "memory.stat")
	s.Memory = MemoryStats{
		Usage: readUint(dir, "memory.current"), Peak: readUint(dir, "memory.peak"), Limit: readUint(dir, "memory.max"),
		InactiveFile: mem["inactive_file"], Swap: readUint(dir, "memory.swap.current"),
	}
	s.Pids = PidsStats{Current: readUint(dir, "pids.current"), Limit: readUint(dir, "pids.max")}
	s.IO = v2IOStats(dir)
	s.Memory.OOMKills, err = g.OOMKills()
	return s, err
}

// v2IOStats reads lines of "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...".
func v2IOStats(dir string) []IOStats {
	var list []IOStats
	text, _ := read(dir, "io.stat")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		d := device(&list, f[0])
		if d == nil {
			continue
		}
		for _, pair := range f[1:] {
			key, value, _ := strings.Cut(pair, "=")
			n, _ := strconv.ParseUint(value, 10, 64)
			switch key {
			case "rbytes":
				d.ReadBytes = n
			case "wbytes":
				d.WriteBytes = n
			case "rios":
				d.ReadOps = n
			case "wios":
				d.WriteOps = n
			}
		}
	}
	return list
}
