package seccomp

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	profile "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// call is what the kernel shows a filter: struct seccomp_data.
type call struct {
	number, arch uint32
	args         [6]uint64
}

// execute interprets a program as the kernel does.
func execute(t *testing.T, code []byte, c call) uint32 {
	t.Helper()
	data := make([]byte, 0, 64)
	data = binary.NativeEndian.AppendUint32(data, c.number)
	data = binary.NativeEndian.AppendUint32(data, c.arch)
	data = binary.NativeEndian.AppendUint64(data, 0)
	for _, a := range c.args {
		data = binary.NativeEndian.AppendUint64(data, a)
	}
	var acc uint32
	for pc := 0; pc < len(code)/8; pc++ {
		b := code[8*pc:]
		op, jt, jf, k := binary.NativeEndian.Uint16(b), b[2], b[3], binary.NativeEndian.Uint32(b[4:])
		var hit bool
		switch op {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.NativeEndian.Uint32(data[k:])
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= k
			continue
		case unix.BPF_RET | unix.BPF_K:
			return k
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			hit = acc == k
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			hit = acc > k
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			hit = acc >= k
		default:
			t.Fatalf("unexpected instruction %#x", op)
		}
		if hit {
			pc += int(jt)
		} else {
			pc += int(jf)
		}
	}
	t.Fatal("the program has no end")
	return 0
}

func holds(c specs.LinuxSeccompArg, v uint64, wide bool) bool {
	want, two := c.Value, c.ValueTwo
	if !wide {
		v, want, two = uint64(uint32(v)), uint64(uint32(want)), uint64(uint32(two))
	}
	switch c.Op {
	case specs.OpEqualTo:
		return v == want
	case specs.OpNotEqual:
		return v != want
	case specs.OpGreaterThan:
		return v > want
	case specs.OpGreaterEqual:
		return v >= want
	case specs.OpLessThan:
		return v < want
	case specs.OpLessEqual:
		return v <= want
	case specs.OpMaskedEqual:
		return v&want == two
	}
	panic(c.Op)
}

// reference reads the verdict off the profile, the slow and obvious way.
func reference(t *testing.T, s *specs.LinuxSeccomp, a arch, c call) uint32 {
	t.Helper()
	last, err := verdictOf(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		t.Fatal(err)
	}
	highest := uint32(0)
	var conditional []uint32
	unconditional := false
	for _, call := range s.Syscalls {
		v, err := verdictOf(call.Action, call.ErrnoRet)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range call.Names {
			n := a.number(name)
			if n < 0 {
				continue
			}
			highest = max(highest, uint32(n))
			if uint32(n) != c.number {
				continue
			}
			if len(call.Args) == 0 {
				if !unconditional {
					last, unconditional = v, true
				}
				continue
			}
			for _, group := range conditionsOf(call.Args) {
				ok := true
				for _, arg := range group {
					ok = ok && holds(arg, c.args[arg.Index], a.wide())
				}
				if ok {
					conditional = append(conditional, v)
				}
			}
		}
	}
	if c.number > highest {
		return unknown(s, last)
	}
	if len(conditional) > 0 {
		return conditional[0]
	}
	return last
}

// dockerDefault is docker's profile for its default capabilities.
func dockerDefault(t testing.TB) *specs.LinuxSeccomp {
	t.Helper()
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_SYS_CHROOT"}}}}
	s, err := profile.GetDefaultProfile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every number of every architecture of docker's default profile, with arguments
// around the values it compares with, gets the verdict that the profile says.
func TestDockerDefault(t *testing.T) {
	t.Parallel()
	s := dockerDefault(t)
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(p.Code)/8)
	values := []uint64{
		0, 1, 8, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0xffffffff, 0x1ffffffff, 0x7e020000, 0x10000000,
		0x100000000, 0x10000000000000, ^uint64(0),
	}
	arches, err := archesOf(s.Architectures)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range arches {
		for n := range uint32(480) {
			for _, v := range values {
				c := call{n, audit[a], [6]uint64{v, v, v, v, v, v}}
				if got, want := execute(t, p.Code, c), reference(t, s, a, c); got != want {
					t.Fatalf("arch %d number %d args %#x: got %#x, want %#x", a, n, v, got, want)
				}
			}
		}
	}
	const x32 = 0x40000000
	enosys := unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	if got := execute(t, p.Code, call{number: x32, arch: audit[amd64]}); got != enosys {
		t.Errorf("an x32 call: %#x, want ENOSYS", got)
	}
	if got := execute(t, p.Code, call{arch: audit[riscv64]}); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("a foreign architecture: %#x, want KILL_PROCESS", got)
	}
}

// Random profiles of all operators and actions agree with the reference.
func TestRandomProfiles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func() uint64 { return []uint64{0, 1, 5, 0xffffffff, 1 << 32, 1<<32 | 5, ^uint64(0)}[rng.IntN(7)] }
	ops := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
		specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual,
	}
	actions := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActLog, specs.ActTrap, specs.ActKillProcess, specs.ActKillThread, specs.ActTrace,
	}
	for range 40 {
		s := &specs.LinuxSeccomp{DefaultAction: actions[rng.IntN(len(actions))], Architectures: []specs.Arch{specs.ArchX86}}
		for range 1 + rng.IntN(60) {
			c := specs.LinuxSyscall{Names: []string{numbers[rng.IntN(len(numbers))].name, "read"}, Action: actions[rng.IntN(2)]}
			for range rng.IntN(4) {
				c.Args = append(c.Args, specs.LinuxSeccompArg{
					Index: uint(rng.IntN(6)), Value: pick(), ValueTwo: pick(), Op: ops[rng.IntN(len(ops))],
				})
			}
			s.Syscalls = append(s.Syscalls, c)
		}
		p, err := Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		arches, _ := archesOf(s.Architectures)
		for _, a := range arches {
			for n := range uint32(480) {
				c := call{n, audit[a], [6]uint64{pick(), pick(), pick(), pick(), pick(), pick()}}
				if got, want := execute(t, p.Code, c), reference(t, s, a, c); got != want {
					t.Fatalf("%+v: got %#x, want %#x\n%+v", c, got, want, s)
				}
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]*specs.LinuxSeccomp{
		"SCMP_ACT_NOTIFY": {DefaultAction: specs.ActNotify},
		"SCMP_ARCH_S390":  {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchS390}},
		"listeners":       {DefaultAction: specs.ActAllow, ListenerPath: "/x"},
		"argument 6": {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
			Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}},
		}}},
	} {
		if _, err := Compile(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	if !slices.IsSortedFunc(numbers, func(a, b entry) int { return strings.Compare(a.name, b.name) }) {
		t.Fatal("not sorted")
	}
	if n := amd64.number("openat2"); n != 437 {
		t.Fatalf("openat2 is %d", n)
	}
	if n := arm64.number("open"); n != -1 {
		t.Fatalf("open on arm64 is %d", n)
	}
}

func BenchmarkCompileDockerDefault(b *testing.B) {
	s := dockerDefault(b)
	for b.Loop() {
		if _, err := Compile(s); err != nil {
			b.Fatal(err)
		}
	}
}
