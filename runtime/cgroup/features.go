package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Features say which limits this host's kernel can set. Docker's names are those of moby, pkg/sysinfo.
type Features struct {
	Memory, Swap, Reservation, Swappiness, OOMKillDisable bool
	CPUShares, CPUQuota, CPURealtime, Cpuset              bool
	Pids                                                  bool
	IOWeight, IOWeightDevice                              bool
	ReadBps, WriteBps, ReadIOPS, WriteIOPS                bool
	// CPUs and Mems are what a cpuset may choose from, as in "0-3,8"; "" where there is no cpuset.
	CPUs, Mems string
}

// Features looks at the files of the group parent, which it makes if it is missing: most are not at a hierarchy's root.
func (h *Host) Features(parent string) (Features, error) {
	parent = filepath.Clean("/" + parent)
	if h.unified != "" {
		return h.featuresV2(parent)
	}
	return h.featuresV1(parent)
}

func (h *Host) featuresV1(parent string) (Features, error) {
	has := func(controller, file string) bool {
		for _, v := range h.v1 {
			if v.has(controller) {
				return exists(filepath.Join(v.mountpoint, parent, file))
			}
		}
		return false
	}
	var f Features
	for _, v := range h.v1 {
		dir := filepath.Join(v.mountpoint, parent)
		if err := mkdirBelow(v.mountpoint, dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return f, fmt.Errorf("look for cgroup features: %w", err)
		}
		if v.has("cpuset") {
			f.Cpuset = true
			f.CPUs, _ = read(v.mountpoint, "cpuset.cpus")
			f.Mems, _ = read(v.mountpoint, "cpuset.mems")
		}
	}
	f.Memory = has("memory", "memory.limit_in_bytes")
	f.Swap = has("memory", "memory.memsw.limit_in_bytes")
	f.Reservation = has("memory", "memory.soft_limit_in_bytes")
	f.Swappiness = has("memory", "memory.swappiness")
	f.OOMKillDisable = has("memory", "memory.oom_control")
	f.CPUShares = has("cpu", "cpu.shares")
	f.CPUQuota = has("cpu", "cpu.cfs_quota_us")
	f.CPURealtime = has("cpu", "cpu.rt_runtime_us")
	f.Pids = has("pids", "pids.max")
	f.IOWeight = has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.weight")
	f.IOWeightDevice = has("blkio", "blkio.weight_device") || has("blkio", "blkio.bfq.weight_device")
	f.ReadBps = has("blkio", "blkio.throttle.read_bps_device")
	f.WriteBps = has("blkio", "blkio.throttle.write_bps_device")
	f.ReadIOPS = has("blkio", "blkio.throttle.read_iops_device")
	f.WriteIOPS = has("blkio", "blkio.throttle.write_iops_device")
	return f, nil
}

func (h *Host) featuresV2(parent string) (Features, error) {
	dir := filepath.Join(h.unified, parent)
	if err := mkdirBelow(h.unified, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return Features{}, fmt.Errorf("look for cgroup features: %w", err)
	}
	g := &v2{root: h.unified, path: parent}
	if err := g.delegate(nil); err != nil {
		return Features{}, err
	}
	has := func(file string) bool { return exists(filepath.Join(dir, file)) }
	f := Features{
		Memory: has("memory.max"), Swap: has("memory.swap.max"), Reservation: has("memory.low"),
		CPUShares: has("cpu.weight"), CPUQuota: has("cpu.max"), Cpuset: has("cpuset.cpus"), Pids: has("pids.max"),
	}
	if f.Cpuset {
		f.CPUs, _ = read(dir, "cpuset.cpus.effective")
		f.Mems, _ = read(dir, "cpuset.mems.effective")
	}
	f.IOWeight = has("io.weight") || has("io.bfq.weight")
	f.IOWeightDevice = f.IOWeight
	f.ReadBps = has("io.max")
	f.WriteBps, f.ReadIOPS, f.WriteIOPS = f.ReadBps, f.ReadBps, f.ReadBps
	return f, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ParseSet reads a list of CPUs or memory nodes as cpuset(7) writes it, "0-3,8", into its numbers, ascending.
func ParseSet(list string) ([]int, error) {
	var set []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		var from, to int
		if _, err := fmt.Sscanf(first+" "+last+"\n", "%d %d\n", &from, &to); err != nil || from < 0 || to < from || to >= maxSetNumber {
			return nil, fmt.Errorf("%q is no list of numbers like 0-3,8", list)
		}
		for n := from; n <= to; n++ {
			set = append(set, n)
		}
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

// maxSetNumber is above NR_CPUS and MAX_NUMNODES of any kernel.
const maxSetNumber = 1 << 14
