package server

import (
	"cmp"
	"net/http"
	"net/netip"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/scheduler/container"
	"tutti/scheduler/fromdocker"
)

// inspectContainer answers GET /containers/{id}/json.
func (s *server) inspectContainer(w http.ResponseWriter, r *http.Request) {
	c, st, err := s.e.Inspect(r.PathValue("id"))
	if err != nil {
		failWith(w, err)
		return
	}
	j := apicontainer.InspectResponse{
		ID: c.ID, Created: c.Created.Format(time.RFC3339Nano), Args: []string{}, Image: c.ImageID, Name: "/" + c.Name, RestartCount: st.Restarts,
		Driver: "overlayfs", Platform: "linux", Mounts: s.mountPoints(&c), State: stateJSON(st), Config: configJSON(c),
		HostConfig: hostConfigJSON(&c, st), NetworkSettings: s.networkSettings(&c, st), AppArmorProfile: c.Security.AppArmor, LogPath: s.e.LogPath(c.ID),
	}
	if args := c.Args(); len(args) > 0 {
		j.Path, j.Args = args[0], args[1:]
	}
	if flag(r, "size") {
		size, err := s.e.ContainerSize(r.Context(), c.ID)
		if err != nil {
			failWith(w, err)
			return
		}
		whole := size + s.imageSize(r.Context(), c.ImageID)
		j.SizeRw, j.SizeRootFs = &size, &whole
	}
	answer(w, j)
}

func stateJSON(st container.State) *apicontainer.State {
	j := &apicontainer.State{
		Status: apicontainer.ContainerState(st.Status), Running: st.Alive(), Paused: st.Status == container.Paused,
		Restarting: st.Status == container.Restarting, Dead: st.Status == container.Dead, OOMKilled: st.OOMKilled, Pid: st.Pid,
		ExitCode: st.ExitCode, Error: st.Error, StartedAt: st.Started.Format(time.RFC3339Nano), FinishedAt: st.Finished.Format(time.RFC3339Nano),
	}
	if h := st.Health; h != nil {
		j.Health = &apicontainer.Health{Status: apicontainer.HealthStatus(h.Status), FailingStreak: h.Streak, Log: []*apicontainer.HealthcheckResult{}}
		for _, p := range h.Log {
			j.Health.Log = append(j.Health.Log, &apicontainer.HealthcheckResult{Start: p.Start, End: p.End, ExitCode: p.Code, Output: p.Output})
		}
	}
	return j
}

func configJSON(c container.Config) *apicontainer.Config {
	if c.Docker != nil {
		return c.Docker.Config
	}
	j := &apicontainer.Config{
		Hostname: c.Hostname, Domainname: c.Domainname, User: c.User, Tty: c.TTY, OpenStdin: c.StdinOpen, StdinOnce: c.StdinOnce,
		AttachStdout: true, AttachStderr: true, AttachStdin: c.StdinOnce, Env: c.Env, Cmd: c.Command, Entrypoint: c.Entrypoint,
		Image: c.Image, WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal, ExposedPorts: apinetwork.PortSet{},
	}
	for _, list := range [][]container.Port{c.Exposed, c.Ports} {
		for _, p := range list {
			if key, ok := apinetwork.PortFrom(p.Target, apinetwork.IPProtocol(p.Protocol)); ok {
				j.ExposedPorts[key] = struct{}{}
			}
		}
	}
	if h := c.Health; h != nil {
		j.Healthcheck = &apicontainer.HealthConfig{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
	}
	if c.StopGrace > 0 {
		seconds := int(c.StopGrace.Seconds())
		j.StopTimeout = &seconds
	}
	return j
}

// runtimeName is the only runtime that there is.
const runtimeName = "tutti"

// hostConfigJSON is what a container was given of the host: what its configuration says, in docker's form.
func hostConfigJSON(c *container.Config, st container.State) *apicontainer.HostConfig {
	if c.Docker != nil {
		return askedFor(c, st)
	}
	j := &apicontainer.HostConfig{
		NetworkMode: apicontainer.NetworkMode(networkMode(c)), AutoRemove: c.AutoRemove, Privileged: c.Security.Privileged,
		ReadonlyRootfs: c.Security.ReadOnly, CapAdd: c.Security.CapAdd, CapDrop: c.Security.CapDrop, Init: &c.Init,
		RestartPolicy: restartPolicyJSON(c),
		LogConfig:     apicontainer.LogConfig{Type: c.Log.Driver, Config: orEmptyMap(c.Log.Options)},
		PortBindings:  apinetwork.PortMap{}, DNSOptions: orEmpty(c.DNSOptions), DNSSearch: orEmpty(c.DNSSearch), ExtraHosts: c.ExtraHosts, GroupAdd: c.Groups,
		IpcMode: apicontainer.IpcMode(cmp.Or(c.IPC, "private")), PidMode: apicontainer.PidMode(c.Pid), UTSMode: apicontainer.UTSMode(c.UTS),
		CgroupnsMode: apicontainer.CgroupnsMode(cmp.Or(c.Cgroup, "private")), OomScoreAdj: c.OOMScore, ShmSize: cmp.Or(c.ShmSize, container.DefaultShm), Sysctls: c.Sysctls, Runtime: runtimeName,
		Annotations: c.Annotations, Umask: c.Umask, Resources: resourcesJSON(c),
	}
	for _, p := range c.Ports {
		if key, ok := apinetwork.PortFrom(p.Target, apinetwork.IPProtocol(p.Protocol)); ok {
			j.PortBindings[key] = append(j.PortBindings[key], apinetwork.PortBinding{HostIP: addressOf(p.HostIP), HostPort: p.Published})
		}
	}
	for _, m := range c.Mounts {
		if m.Anonymous || m.Type != "volume" && m.Type != "bind" {
			continue
		}
		bind := m.Source + ":" + m.Target
		if m.ReadOnly {
			bind += ":ro"
		}
		j.Binds = append(j.Binds, bind)
	}
	return j
}

// resourcesJSON are a container's limits and devices.
func resourcesJSON(c *container.Config) apicontainer.Resources {
	j := fromdocker.Resources(c)
	for _, d := range c.Devices {
		j.Devices = append(j.Devices, apicontainer.DeviceMapping{PathOnHost: d.Source, PathInContainer: d.Target, CgroupPermissions: d.Permissions})
	}
	for _, u := range c.Rlimits {
		j.Ulimits = append(j.Ulimits, &apicontainer.Ulimit{Name: ulimitName(u.Type), Soft: int64(u.Soft), Hard: int64(u.Hard)}) //nolint:gosec // -1 is unlimited
	}
	return j
}

func ulimitName(limit string) string {
	return strings.ToLower(strings.TrimPrefix(limit, "RLIMIT_"))
}

// addressOf is invalid, which docker's clients show as nothing, for what is no address.
func addressOf(text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a
}
