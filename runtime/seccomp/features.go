package seccomp

import specs "github.com/opencontainers/runtime-spec/specs-go"

// Actions lists the actions that Compile knows.
func Actions() []string {
	return names(specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread,
		specs.ActLog, specs.ActTrace, specs.ActTrap)
}

// Operators lists the comparisons of arguments that Compile knows.
func Operators() []string {
	return names(specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpLessEqual, specs.OpLessThan,
		specs.OpMaskedEqual, specs.OpNotEqual)
}

// Architectures lists those that Compile knows.
func Architectures() []string {
	return names(specs.ArchAARCH64, specs.ArchARM, specs.ArchRISCV64, specs.ArchX86, specs.ArchX86_64, specs.ArchX32)
}

// Flags lists the flags of seccomp(2) that Compile knows.
func Flags() []string {
	return names(specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow)
}

func names[T ~string](values ...T) []string {
	var list []string
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}
