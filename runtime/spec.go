package runtime

import (
	"path/filepath"
	"slices"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCaps are docker's (moby, daemon/pkg/oci/caps/defaults.go).
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// defaultMasked and defaultReadonly are docker's (moby, daemon/pkg/oci/defaults.go).
var (
	defaultMasked = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	defaultReadonly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// thermalPaths are masked too, where the hardware has them: they tell what other
// programs do (moby GHSA-6fw5-f8r9-fgfm).
var thermalPaths = sync.OnceValue(func() []string {
	paths, err := filepath.Glob("/sys/devices/system/cpu/cpu*/thermal_throttle")
	if err != nil { // only a malformed pattern
		panic(err)
	}
	return paths
})

// DefaultSpec is docker's default container: capabilities, seccomp profile,
// masked and read-only paths, devices, mounts and namespaces (moby,
// daemon/pkg/oci/defaults.go). Stricter than that: a cgroup namespace of its own
// on cgroup v1 too. The caller sets Root, Process.Args, Env, Cwd and User. Every
// call returns a fresh value, but for Linux.Seccomp, which must not be changed in place.
func DefaultSpec() *specs.Spec {
	// Docker's profile is data of a library, and the default set names capabilities
	// that exist: there is nothing that could fail.
	filter, err := defaultSeccomp(defaultCaps)
	if err != nil {
		panic(err)
	}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding: slices.Clone(defaultCaps), Effective: slices.Clone(defaultCaps), Permitted: slices.Clone(defaultCaps),
			},
		},
		Root:   &specs.Root{},
		Mounts: defaultMounts(),
		Linux: &specs.Linux{
			MaskedPaths:   slices.Concat(defaultMasked, thermalPaths()),
			ReadonlyPaths: slices.Clone(defaultReadonly),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Seccomp:   filter,
			// Ports below 1024 and ping without a capability, as docker since 20.10.
			Sysctl: map[string]string{
				"net.ipv4.ip_unprivileged_port_start": "0",
				"net.ipv4.ping_group_range":           "0 2147483647",
			},
		},
	}
}

func defaultMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}},
	}
}
