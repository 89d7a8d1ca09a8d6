package cgroup

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// refuseV1Only refuses limits that v2 has no equivalent of.
func refuseV1Only(res *specs.LinuxResources) error {
	m := res.Memory
	switch {
	case m != nil && m.KernelTCP != nil && *m.KernelTCP > 0:
		return fmt.Errorf("set a limit of TCP memory: %w", ErrUnsupported)
	case res.Network != nil && (res.Network.ClassID != nil || len(res.Network.Priorities) > 0):
		return fmt.Errorf("set network class or priorities: %w", ErrUnsupported)
	case len(res.Rdma) > 0:
		return fmt.Errorf("set limits of RDMA devices: %w", ErrUnsupported)
	}
	return nil
}
