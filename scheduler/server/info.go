package server

import (
	"net/http"

	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
)

// info answers GET /info: what docker's clients show of the host and the engine.
func (s *server) info(w http.ResponseWriter, r *http.Request) {
	f, err := s.e.Facts(r.Context())
	if err != nil {
		failWith(w, err)
		return
	}
	j := system.Info{
		ID: f.ID, Containers: f.Running + f.Paused + f.Stopped, ContainersRunning: f.Running, ContainersPaused: f.Paused, ContainersStopped: f.Stopped,
		Images: f.Images, Driver: "overlayfs", DriverStatus: [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
		Plugins: system.PluginsInfo{
			Volume: []string{"local"}, Network: []string{"bridge", "host", "null"},
			Log: []string{"journald", "json-file", "local", "none", "syslog"},
		},
		MemoryLimit: true, SwapLimit: true, CPUCfsPeriod: true, CPUCfsQuota: true, CPUShares: true, CPUSet: true, PidsLimit: true,
		IPv4Forwarding: f.Forwarding, NFd: f.Files, NGoroutines: f.Goroutines, SystemTime: f.Time, LoggingDriver: "json-file",
		CgroupDriver: f.CgroupDriver, CgroupVersion: f.CgroupVersion, KernelVersion: f.Kernel, OperatingSystem: f.OS, OSVersion: f.OSVersion,
		OSType: "linux", Architecture: f.Machine, IndexServerAddress: "https://index.docker.io/v1/", RegistryConfig: &registry.ServiceConfig{},
		NCPU: f.CPUs, MemTotal: f.Memory, DockerRootDir: s.e.Root(), Name: f.Host, Labels: []string{}, ServerVersion: s.build.Version,
		Runtimes: map[string]system.RuntimeWithStatus{"tutti": {}}, DefaultRuntime: "tutti", Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		LiveRestoreEnabled: true, InitBinary: "tutti-init", SecurityOptions: f.Security, CDISpecDirs: []string{"/etc/cdi", "/var/run/cdi"}, Warnings: []string{},
	}
	answer(w, j)
}
