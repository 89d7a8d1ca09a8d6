// Package seccomp compiles the seccomp section of an OCI runtime spec to a
// classic BPF program for seccomp(2), in pure Go.
//
// The program looks like this, per architecture (the native one first):
//
//	load arch; is it this one? else next
//	load number
//	binary search over ranges of numbers with one verdict
//	  leaf: return ALLOW | ERRNO ... , or compare arguments and return
//
// A search costs 7 to 9 comparisons for docker's default profile where a list
// costs 350; the kernel runs the program for every number when it is loaded.
package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// maxProgram is BPF_MAXINSNS.
const maxProgram = 4096

// Program is a compiled filter.
type Program struct {
	Code  []byte // an array of struct sock_filter
	Flags uint64 // SECCOMP_FILTER_FLAG_*
}

// instruction is struct sock_filter.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

func (i instruction) append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, i.code)
	b = append(b, i.jt, i.jf)
	return binary.NativeEndian.AppendUint32(b, i.k)
}

func load(offset uint32) instruction {
	return instruction{code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, k: offset}
}

func ret(verdict uint32) instruction {
	return instruction{code: unix.BPF_RET | unix.BPF_K, k: verdict}
}

// Compile translates a spec's section. What libseccomp does and this does not:
// notify actions (an error), x32 (refused at run time).
func Compile(s *specs.LinuxSeccomp) (Program, error) {
	if s.ListenerPath != "" {
		return Program{}, errors.New("seccomp: notify listeners are not supported yet")
	}
	flags, err := flagsOf(s.Flags)
	if err != nil {
		return Program{}, err
	}
	arches, err := archesOf(s.Architectures)
	if err != nil {
		return Program{}, err
	}
	code := []instruction{load(offArch)}
	for _, a := range arches {
		tree, err := compileArch(a, s)
		if err != nil {
			return Program{}, err
		}
		code = append(code,
			instruction{code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, jt: 1, k: audit[a]},
			instruction{code: unix.BPF_JMP | unix.BPF_JA, k: uint32(len(tree))})
		code = append(code, tree...)
	}
	code = append(code, ret(unix.SECCOMP_RET_KILL_PROCESS)) // an architecture that was not asked for
	if len(code) > maxProgram {
		return Program{}, fmt.Errorf("seccomp: the profile needs %d instructions, the kernel takes %d", len(code), maxProgram)
	}
	p := Program{Flags: flags, Code: make([]byte, 0, 8*len(code))}
	for _, i := range code {
		p.Code = i.append(p.Code)
	}
	return p, nil
}

func archesOf(list []specs.Arch) ([]arch, error) {
	own, err := native(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	arches := []arch{own}
	for _, name := range list {
		a, ok, err := archOf(name)
		if err != nil {
			return nil, err
		}
		if ok && !slices.Contains(arches, a) {
			arches = append(arches, a)
		}
	}
	return arches, nil
}

// flagsOf allows speculation by default, as runc does: the mitigation was switched
// off for seccomp in Linux 5.16.
func flagsOf(list []specs.LinuxSeccompFlag) (uint64, error) {
	if list == nil {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	var flags uint64
	for _, f := range list {
		switch f {
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		default:
			return 0, fmt.Errorf("seccomp: flag %s is not supported", f)
		}
	}
	return flags, nil
}

// verdictOf is the return value of a filter for an action.
func verdictOf(action specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errno != nil {
		data = uint32(*errno & unix.SECCOMP_RET_DATA)
	}
	switch action {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	default:
		return 0, fmt.Errorf("seccomp: action %s is not supported", action)
	}
}

// rule is one verdict for calls whose arguments meet all conditions.
type rule struct {
	conditions []specs.LinuxSeccompArg
	verdict    uint32
}

// segment is a range of numbers, up to the next segment's start, with one leaf.
type segment struct {
	from uint32
	leaf []instruction
}

func compileArch(a arch, s *specs.LinuxSeccomp) ([]instruction, error) {
	fallback, err := verdictOf(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	rules, err := rulesOf(a, s)
	if err != nil {
		return nil, err
	}
	var segments []segment
	add := func(from uint32, leaf []instruction) {
		if n := len(segments); n > 0 && slices.Equal(segments[n-1].leaf, leaf) {
			return
		}
		segments = append(segments, segment{from, leaf})
	}
	next := uint32(0)
	for _, number := range slices.Sorted(maps.Keys(rules)) {
		if number > next {
			add(next, []instruction{ret(fallback)})
		}
		leaf, err := leafOf(a, rules[number], fallback)
		if err != nil {
			return nil, err
		}
		add(number, leaf)
		next = number + 1
	}
	add(next, []instruction{ret(unknown(s, fallback))})
	return append([]instruction{load(offNumber)}, search(segments)...), nil
}

// unknown is the verdict for numbers past the last one of the profile: calls
// that are newer than it. Programs take ENOSYS for "use the older call", and
// EPERM for a failure; runc does the same (libcontainer/seccomp/patchbpf).
func unknown(s *specs.LinuxSeccomp, fallback uint32) uint32 {
	switch s.DefaultAction {
	case specs.ActAllow, specs.ActLog, specs.ActTrace:
		return fallback
	default:
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
}

func rulesOf(a arch, s *specs.LinuxSeccomp) (map[uint32][]rule, error) {
	rules := map[uint32][]rule{}
	for _, call := range s.Syscalls {
		verdict, err := verdictOf(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, err
		}
		alternatives := conditionsOf(call.Args)
		for _, name := range call.Names {
			n := a.number(name)
			if n < 0 {
				continue // not of this architecture, or newer than the table
			}
			for _, c := range alternatives {
				rules[uint32(n)] = append(rules[uint32(n)], rule{c, verdict})
			}
		}
	}
	return rules, nil
}

// conditionsOf groups conditions: all of a group must hold, any group will do.
// Conditions on different arguments are one group. Several on the same argument
// are alternatives, as in runc (libcontainer/seccomp, matchCall).
func conditionsOf(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	seen := map[uint]bool{}
	twice := false
	for _, a := range args {
		twice = twice || seen[a.Index]
		seen[a.Index] = true
	}
	if !twice {
		return [][]specs.LinuxSeccompArg{args}
	}
	var groups [][]specs.LinuxSeccompArg
	for _, a := range args {
		groups = append(groups, []specs.LinuxSeccompArg{a})
	}
	return groups
}

// leafOf is the code for one number: conditional rules in their order, then the
// first unconditional one, or the default.
func leafOf(a arch, rules []rule, fallback uint32) ([]instruction, error) {
	last := fallback
	for _, r := range slices.Backward(rules) {
		if len(r.conditions) == 0 {
			last = r.verdict
		}
	}
	rules = slices.DeleteFunc(rules, func(r rule) bool { return len(r.conditions) == 0 })
	for len(rules) > 0 && rules[len(rules)-1].verdict == last {
		rules = rules[:len(rules)-1] // with or without it, the end is the same
	}
	var code []instruction
	for _, r := range rules {
		block, err := test(a, r)
		if err != nil {
			return nil, err
		}
		code = append(code, block...)
	}
	return append(code, ret(last)), nil
}

// search is a binary search over segments: the number is in the accumulator.
func search(segments []segment) []instruction {
	if len(segments) == 1 {
		return segments[0].leaf
	}
	mid := len(segments) / 2
	low, high := search(segments[:mid]), search(segments[mid:])
	jge := instruction{code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, k: segments[mid].from}
	var code []instruction
	if len(low) <= math.MaxUint8 {
		jge.jt = uint8(len(low))
		code = append(code, jge)
	} else { // too far for a conditional jump
		jge.jf = 1
		code = append(code, jge, instruction{code: unix.BPF_JMP | unix.BPF_JA, k: uint32(len(low))})
	}
	return append(append(code, low...), high...)
}
