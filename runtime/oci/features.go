package oci

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"tutti/runtime"
	"tutti/runtime/seccomp"
)

// Features says what this runtime can do (features.md of the spec).
func Features() *features.Features {
	yes, no := true, false
	apparmor := runtime.AppArmorEnabled()
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  runtime.MountOptions(),
		Linux: &features.Linux{
			Namespaces:   runtime.Namespaces(),
			Capabilities: runtime.Capabilities(),
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &no},
			Seccomp: &features.Seccomp{
				Enabled: &yes, Actions: seccomp.Actions(), Operators: seccomp.Operators(), Archs: seccomp.Architectures(),
				KnownFlags: seccomp.Flags(), SupportedFlags: seccomp.Flags(),
			},
			Apparmor:        &features.Apparmor{Enabled: &apparmor},
			Selinux:         &features.Selinux{Enabled: &no},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &no},
		},
	}
}

// DefaultSpec is the config.json that a new bundle begins with: the default
// container with a shell in it.
func DefaultSpec() *specs.Spec {
	s := runtime.DefaultSpec()
	s.Root = &specs.Root{Path: "rootfs", Readonly: true}
	s.Hostname = "tutti"
	s.Process.Terminal = true
	s.Process.Args = []string{"sh"}
	s.Process.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}
	s.Process.NoNewPrivileges = true
	s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}}
	s.Linux.MaskedPaths = slices.Clone(s.Linux.MaskedPaths)
	return s
}
