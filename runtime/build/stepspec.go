package build

import (
	"fmt"
	"strings"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// stepSpec is docker's default container with the step's process.
// One that has the entitlement and asks for it is privileged.
func stepSpec(meta executor.Meta, rootfs string, readonly bool) (*specs.Spec, error) {
	spec := runtime.DefaultSpec()
	spec.Hostname = defaultHostname
	if meta.Hostname != "" {
		spec.Hostname = meta.Hostname
	}
	spec.Root = &specs.Root{Path: rootfs, Readonly: readonly || meta.ReadonlyRootFS}
	process := processSpec(meta)
	for _, u := range meta.Ulimit {
		process.Rlimits = append(process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	spec.Process = process
	limit(spec, meta.LinuxResources)
	if meta.SecurityMode == pb.SecurityMode_INSECURE {
		if err := runtime.SetPrivileged(spec); err != nil {
			return nil, fmt.Errorf("privileges of build step: %w", err)
		}
	}
	return spec, nil
}

// limit sets what the step may use.
func limit(spec *specs.Spec, r *pb.LinuxResources) {
	if r == nil {
		return
	}
	limits := spec.Linux.Resources
	if r.Memory != 0 || r.MemorySwap != 0 {
		limits.Memory = &specs.LinuxMemory{}
		if r.Memory != 0 {
			limits.Memory.Limit = &r.Memory
		}
		if r.MemorySwap != 0 {
			limits.Memory.Swap = &r.MemorySwap
		}
	}
	cpu := specs.LinuxCPU{Cpus: r.CpusetCpus, Mems: r.CpusetMems}
	if r.CpuShares != 0 {
		cpu.Shares = &r.CpuShares
	}
	if r.CpuPeriod != 0 {
		cpu.Period = &r.CpuPeriod
	}
	if r.CpuQuota != 0 {
		cpu.Quota = &r.CpuQuota
	}
	if cpu != (specs.LinuxCPU{}) {
		limits.CPU = &cpu
	}
}

// processSpec describes a program; user names are looked up inside the container.
func processSpec(meta executor.Meta) *specs.Process {
	return &specs.Process{
		Args:         meta.Args,
		Env:          meta.Env,
		Cwd:          meta.Cwd,
		Terminal:     meta.Tty,
		User:         specs.User{Username: meta.User},
		Capabilities: runtime.DefaultSpec().Process.Capabilities,
	}
}
