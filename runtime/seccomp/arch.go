package seccomp

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

//go:generate go run ./gen

// arch is a column of the table of numbers.
type arch int

const (
	amd64 arch = iota
	i386
	arm64
	arm
	riscv64
	archCount
)

// entry is one system call; a number of -1 means that the architecture lacks it.
type entry struct {
	name    string
	numbers [archCount]int32
}

// audit are the AUDIT_ARCH_* values that the kernel reports (linux/audit.h).
var audit = [archCount]uint32{
	amd64: 0xc000003e, i386: 0x40000003, arm64: 0xc00000b7, arm: 0x40000028, riscv64: 0xc00000f3,
}

// wide tells whether arguments have 64 bits.
func (a arch) wide() bool { return a != i386 && a != arm }

// number is -1 for a call that the architecture does not have.
func (a arch) number(name string) int32 {
	i, ok := slices.BinarySearchFunc(numbers, name, func(e entry, n string) int { return strings.Compare(e.name, n) })
	if !ok {
		return -1
	}
	return numbers[i].numbers[a]
}

// archOf finds the architecture of a spec. x32 has none: its calls (amd64 numbers
// with bit 30 set) are unknown to the filter and refused like all unknown ones.
func archOf(a specs.Arch) (arch, bool, error) {
	switch a {
	case specs.ArchX86_64:
		return amd64, true, nil
	case specs.ArchX86:
		return i386, true, nil
	case specs.ArchX32:
		return 0, false, nil
	case specs.ArchAARCH64:
		return arm64, true, nil
	case specs.ArchARM:
		return arm, true, nil
	case specs.ArchRISCV64:
		return riscv64, true, nil
	default:
		return 0, false, fmt.Errorf("seccomp: architecture %s is not supported", a)
	}
}

// native is the architecture of this program.
func native(goarch string) (arch, error) {
	a, ok := map[string]arch{"amd64": amd64, "386": i386, "arm64": arm64, "arm": arm, "riscv64": riscv64}[goarch]
	if !ok {
		return 0, fmt.Errorf("seccomp: architecture %s is not supported", goarch)
	}
	return a, nil
}
