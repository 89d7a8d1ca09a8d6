package seccomp

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// BPF has words of 32 bits and arguments have 64: every comparison is one of the
// high halves and, where those are equal, one of the low halves.

// jump says where a step goes: on, to the condition's success, to its failure.
type jump int

const (
	on jump = iota
	pass
	fail
)

// step is an instruction whose jumps are not numbers yet.
type step struct {
	instruction
	yes, no jump
}

func jumpStep(op uint16, k uint32, yes, no jump) step {
	return step{instruction{code: unix.BPF_JMP | op | unix.BPF_K, k: k}, yes, no}
}

func plain(i instruction) step { return step{instruction: i} }

// test is the code for one rule: it returns the verdict when every condition
// holds and goes on behind itself when one does not.
func test(a arch, r rule) ([]instruction, error) {
	var blocks [][]step
	total := 1 // the return at the end
	for _, c := range r.conditions {
		b, err := condition(a, c)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
		total += len(b)
	}
	if total > 255 {
		return nil, fmt.Errorf("seccomp: a rule with %d conditions is too long", len(r.conditions))
	}
	var code []instruction
	for _, b := range blocks {
		end := len(code) + len(b) // success of this condition: the next one begins
		for _, s := range b {
			here := len(code) + 1
			i := s.instruction
			if i.code&7 == unix.BPF_JMP {
				distance := map[jump]int{on: 0, pass: end - here, fail: total - here}
				i.jt, i.jf = uint8(distance[s.yes]), uint8(distance[s.no])
			}
			code = append(code, i)
		}
	}
	return append(code, ret(r.verdict)), nil
}

// condition compares one argument.
func condition(a arch, c specs.LinuxSeccompArg) ([]step, error) {
	if c.Index > 5 {
		return nil, fmt.Errorf("seccomp: there is no argument %d", c.Index)
	}
	offset := uint32(offArgs + 8*c.Index) // little endian: the low half first
	low, high := plain(load(offset)), plain(load(offset+4))
	v, m := c.Value, uint64(0)
	op := c.Op
	if op == specs.OpMaskedEqual {
		m, v = c.Value, c.ValueTwo
		and := func(k uint32) step {
			return plain(instruction{code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, k: k})
		}
		steps := []step{low, and(uint32(m)), jumpStep(unix.BPF_JEQ, uint32(v), pass, fail)}
		if a.wide() {
			steps = append([]step{high, and(uint32(m >> 32)), jumpStep(unix.BPF_JEQ, uint32(v>>32), on, fail)}, steps...)
		}
		return steps, nil
	}
	// "less" is "not greater or equal", "less or equal" is "not greater".
	yes, no := pass, fail
	switch op {
	case specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual:
		yes, no = fail, pass
	default: // as they are written
	}
	var compare uint16
	switch op {
	case specs.OpEqualTo, specs.OpNotEqual:
		compare = unix.BPF_JEQ
	case specs.OpGreaterEqual, specs.OpLessThan:
		compare = unix.BPF_JGE
	case specs.OpGreaterThan, specs.OpLessEqual:
		compare = unix.BPF_JGT
	default:
		return nil, fmt.Errorf("seccomp: operator %s is not supported", op)
	}
	steps := []step{low, jumpStep(compare, uint32(v), yes, no)}
	if !a.wide() {
		return steps, nil
	}
	prefix := []step{high}
	if compare != unix.BPF_JEQ {
		prefix = append(prefix, jumpStep(unix.BPF_JGT, uint32(v>>32), yes, on))
	}
	prefix = append(prefix, jumpStep(unix.BPF_JEQ, uint32(v>>32), on, no))
	return append(prefix, steps...), nil
}
