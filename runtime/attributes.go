package runtime

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/wire"
)

// wireAttributes translates what a process has beside user, limits and capabilities.
func wireAttributes(w *wire.Process, p *specs.Process) error {
	if p.ApparmorProfile != "" {
		if !AppArmorEnabled() {
			return fmt.Errorf("spec: apparmorProfile %q: this host has no AppArmor", p.ApparmorProfile)
		}
		w.Apparmor = p.ApparmorProfile
	}
	var err error
	if w.IOPriority, err = ioPriorityOf(p.IOPriority); err != nil {
		return err
	}
	if w.Scheduler, err = schedulerOf(p.Scheduler); err != nil {
		return err
	}
	if a := p.ExecCPUAffinity; a != nil {
		if w.InitialAffinity, err = cpuMask(a.Initial); err != nil {
			return err
		}
		if w.FinalAffinity, err = cpuMask(a.Final); err != nil {
			return err
		}
	}
	return nil
}

// ioPriorities are the classes of ioprio_set(2).
var ioPriorities = map[specs.IOPriorityClass]uint32{
	specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3,
}

// ioPriorityOf is IOPRIO_PRIO_VALUE; 0 for none.
func ioPriorityOf(p *specs.LinuxIOPriority) (uint32, error) {
	if p == nil {
		return 0, nil
	}
	class, ok := ioPriorities[p.Class]
	if !ok || p.Priority < 0 || p.Priority > 7 {
		return 0, fmt.Errorf("spec: ioPriority %s %d: unknown class, or a priority that is not 0 to 7", p.Class, p.Priority)
	}
	const classShift = 13
	return class<<classShift | uint32(p.Priority), nil
}

// schedulers are the policies of sched(7).
var schedulers = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3,
	specs.SchedISO: 4, specs.SchedIdle: 5, specs.SchedDeadline: 6,
}

// schedulerFlags are those of sched_setattr(2).
var schedulerFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: 0x01, specs.SchedFlagReclaim: 0x02, specs.SchedFlagDLOverrun: 0x04,
	specs.SchedFlagKeepPolicy: 0x08, specs.SchedFlagKeepParams: 0x10,
	specs.SchedFlagUtilClampMin: 0x20, specs.SchedFlagUtilClampMax: 0x40,
}

func schedulerOf(s *specs.Scheduler) (wire.Scheduler, error) {
	if s == nil {
		return wire.Scheduler{}, nil
	}
	policy, ok := schedulers[s.Policy]
	if !ok {
		return wire.Scheduler{}, fmt.Errorf("spec: unknown scheduler policy %q", s.Policy)
	}
	w := wire.Scheduler{
		Set: true, Policy: policy, Nice: uint32(s.Nice), Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	for _, f := range s.Flags {
		flag, ok := schedulerFlags[f]
		if !ok {
			return w, fmt.Errorf("spec: unknown scheduler flag %q", f)
		}
		w.Flags |= flag
	}
	return w, nil
}

// personalityOf is the value of personality(2) plus one; 0 for none.
func personalityOf(p *specs.LinuxPersonality) (uint64, error) {
	if p == nil {
		return 0, nil
	}
	if len(p.Flags) > 0 {
		return 0, fmt.Errorf("spec: personality flags are not supported")
	}
	switch p.Domain {
	case specs.PerLinux:
		return 0x0000 + 1, nil
	case specs.PerLinux32:
		return 0x0008 + 1, nil
	}
	return 0, fmt.Errorf("spec: unknown personality domain %q", p.Domain)
}

// maxCPUs is the most that a kernel is built for.
const maxCPUs = 8192

// cpuMask translates "0-3,7" to a bit mask of 64-bit words.
func cpuMask(list string) ([]uint64, error) {
	if list == "" {
		return nil, nil
	}
	var mask []uint64
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 32)
		last, err2 := strconv.ParseUint(to, 10, 32)
		if err != nil || err2 != nil || first > last || last >= maxCPUs {
			return nil, fmt.Errorf("spec: malformed CPU list %q", list)
		}
		for cpu := first; cpu <= last; cpu++ {
			for uint64(len(mask)) <= cpu/64 {
				mask = append(mask, 0)
			}
			mask[cpu/64] |= 1 << (cpu % 64)
		}
	}
	return mask, nil
}
