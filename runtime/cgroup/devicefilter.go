package cgroup

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// On v2 a BPF program of type CGROUP_DEVICE decides about devices. It gets
// struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, where
// access_type is (access << 16) | type, and answers 1 to allow, 0 to refuse.

// insn is struct bpf_insn.
type insn struct {
	op       byte
	dst, src byte
	off      int16
	imm      int32
}

// Opcodes of https://docs.kernel.org/bpf/standardization/instruction-set.html
const (
	opLoadWord = 0x61 // dst = *(u32 *)(src + off)
	opMovImm   = 0xb7
	opMovReg   = 0xbf
	opAndImm   = 0x57
	opRshImm   = 0x77
	opJneImm   = 0x55
	opExit     = 0x95
)

// Registers of the program: 0 is the result, 1 the context.
const (
	regType, regAccess, regMajor, regMinor, regScratch = 2, 3, 4, 5, 6
)

func deviceProgram(rules []specs.LinuxDeviceCgroup) ([]insn, error) {
	p := []insn{
		{op: opLoadWord, dst: regType, src: 1, off: 0},
		{op: opMovReg, dst: regAccess, src: regType},
		{op: opAndImm, dst: regType, imm: 0xffff},
		{op: opRshImm, dst: regAccess, imm: 16},
		{op: opLoadWord, dst: regMajor, src: 1, off: 4},
		{op: opLoadWord, dst: regMinor, src: 1, off: 8},
	}
	// v1 applies rules one after the other: the last that matches decides. Here the
	// first that matches returns.
	for _, r := range slices.Backward(rules) {
		block, err := ruleBlock(r)
		if err != nil {
			return nil, err
		}
		p = append(p, block...)
		if len(block) == verdictSize {
			return p, nil // matches everything: the verifier refuses code behind it
		}
	}
	return append(p, insn{op: opMovImm, imm: 0}, insn{op: opExit}), nil
}

// verdictSize is the length of a block without a test.
const verdictSize = 2

// ruleBlock tests one rule: every test that fails jumps behind the block.
func ruleBlock(r specs.LinuxDeviceCgroup) ([]insn, error) {
	var b []insn
	switch r.Type {
	case "", "a":
	case "b":
		b = append(b, insn{op: opJneImm, dst: regType, imm: unix.BPF_DEVCG_DEV_BLOCK})
	case "c":
		b = append(b, insn{op: opJneImm, dst: regType, imm: unix.BPF_DEVCG_DEV_CHAR})
	default:
		return nil, fmt.Errorf("device rule: unknown type %q", r.Type)
	}
	access, err := accessBits(r.Access)
	if err != nil {
		return nil, err
	}
	const all = unix.BPF_DEVCG_ACC_MKNOD | unix.BPF_DEVCG_ACC_READ | unix.BPF_DEVCG_ACC_WRITE
	switch {
	case access == all:
	case r.Allow: // matches when nothing beyond the rule is asked for
		b = append(b, insn{op: opMovReg, dst: regScratch, src: regAccess},
			insn{op: opAndImm, dst: regScratch, imm: int32(^access)},
			insn{op: opJneImm, dst: regScratch, imm: 0})
	default: // matches when anything of the rule is asked for: jump over "none of it"
		b = append(b, insn{op: opMovReg, dst: regScratch, src: regAccess},
			insn{op: opAndImm, dst: regScratch, imm: int32(access)},
			insn{op: opJneImm, dst: regScratch, imm: 0, off: 1},
			insn{op: opJneImm, dst: regScratch, imm: 1}) // always: scratch is 0
	}
	for reg, n := range map[byte]*int64{regMajor: r.Major, regMinor: r.Minor} {
		if n != nil && *n >= 0 {
			b = append(b, insn{op: opJneImm, dst: reg, imm: int32(*n)})
		}
	}
	verdict := int32(0)
	if r.Allow {
		verdict = 1
	}
	b = append(b, insn{op: opMovImm, imm: verdict}, insn{op: opExit})
	for i := range b {
		if b[i].op == opJneImm && b[i].off == 0 {
			b[i].off = int16(len(b) - i - 1)
		}
	}
	return b, nil
}

func accessBits(access string) (uint32, error) {
	if access == "" {
		access = "rwm"
	}
	var bits uint32
	for _, c := range access {
		switch c {
		case 'r':
			bits |= unix.BPF_DEVCG_ACC_READ
		case 'w':
			bits |= unix.BPF_DEVCG_ACC_WRITE
		case 'm':
			bits |= unix.BPF_DEVCG_ACC_MKNOD
		default:
			return 0, fmt.Errorf("device rule: unknown access %q", access)
		}
	}
	return bits, nil
}

func (g *v2) setDevices(res *specs.LinuxResources) error {
	if len(res.Devices) == 0 {
		return nil
	}
	program, err := deviceProgram(res.Devices)
	if err != nil {
		return err
	}
	prog, err := loadDeviceProgram(program)
	if err != nil {
		return fmt.Errorf("load device filter: %w", err)
	}
	defer unix.Close(prog) //nolint:errcheck // the cgroup holds the program
	dir, err := os.Open(g.Dir())
	if err != nil {
		return fmt.Errorf("attach device filter: %w", err)
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	// union bpf_attr for BPF_PROG_ATTACH. Without BPF_F_ALLOW_MULTI a second attach
	// replaces the first: that is what a change of the rules wants.
	attr := struct{ target, prog, kind, flags uint32 }{
		uint32(dir.Fd()), uint32(prog), unix.BPF_CGROUP_DEVICE, 0,
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return fmt.Errorf("attach device filter: %w", errno)
	}
	return nil
}

// maxLoads is how often a program is loaded that the kernel was interrupted at.
const maxLoads = 20

func loadDeviceProgram(program []insn) (int, error) {
	code := make([]byte, 0, 8*len(program))
	for _, i := range program {
		code = append(code, i.op, i.dst|i.src<<4)
		code = binary.NativeEndian.AppendUint16(code, uint16(i.off))
		code = binary.NativeEndian.AppendUint32(code, uint32(i.imm))
	}
	license := []byte("Apache-2.0\x00")
	// union bpf_attr for BPF_PROG_LOAD, as far as it is needed.
	attr := struct {
		kind, count    uint32
		insns, license uint64
		logLevel, size uint32
		log            uint64
		version, flags uint32
	}{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(program)),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	var fd uintptr
	errno := unix.EAGAIN
	for range maxLoads {
		// The verifier gives up when a signal is pending, and Go's scheduler sends them (SIGURG).
		if fd, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != unix.EAGAIN {
			break
		}
	}
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
