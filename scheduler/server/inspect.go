package server

import (
	"net/http"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	apimount "github.com/moby/moby/api/types/mount"

	"tutti/scheduler/container"
)

// inspectContainer answers GET /containers/{id}/json: what docker's clients look at before they exec and attach.
func (s *server) inspectContainer(w http.ResponseWriter, r *http.Request) {
	c, st, err := s.e.Inspect(r.PathValue("id"))
	if err != nil {
		failWith(w, err)
		return
	}
	j := apicontainer.InspectResponse{
		ID: c.ID, Created: c.Created.Format(time.RFC3339Nano), Args: []string{}, Image: c.ImageID, Name: "/" + c.Name, RestartCount: st.Restarts,
		Driver: "overlayfs", Platform: "linux", Mounts: []apicontainer.MountPoint{}, State: stateJSON(st), Config: configJSON(c),
		HostConfig: &apicontainer.HostConfig{
			NetworkMode: apicontainer.NetworkMode(c.NetworkMode), AutoRemove: c.AutoRemove, Privileged: c.Security.Privileged,
			ReadonlyRootfs: c.Security.ReadOnly, CapAdd: c.Security.CapAdd, CapDrop: c.Security.CapDrop, Init: &c.Init,
			RestartPolicy: apicontainer.RestartPolicy{Name: apicontainer.RestartPolicyMode(c.Restart.Name), MaximumRetryCount: c.Restart.MaxRetries},
			LogConfig:     apicontainer.LogConfig{Type: c.Log.Driver},
		},
		NetworkSettings: s.networkSettings(&c, st),
	}
	if args := c.Args(); len(args) > 0 {
		j.Path, j.Args = args[0], args[1:]
	}
	for _, m := range c.Mounts {
		p := apicontainer.MountPoint{Type: apimount.Type(m.Type), Source: m.Source, Destination: m.Target, RW: !m.ReadOnly}
		if m.Type == "volume" {
			p.Name = m.Source
		}
		j.Mounts = append(j.Mounts, p)
	}
	answer(w, j)
}

func stateJSON(st container.State) *apicontainer.State {
	return &apicontainer.State{
		Status: apicontainer.ContainerState(st.Status), Running: st.Alive(), Paused: st.Status == container.Paused,
		Restarting: st.Status == container.Restarting, Dead: st.Status == container.Dead, OOMKilled: st.OOMKilled, Pid: st.Pid,
		ExitCode: st.ExitCode, Error: st.Error, StartedAt: st.Started.Format(time.RFC3339Nano), FinishedAt: st.Finished.Format(time.RFC3339Nano),
	}
}

func configJSON(c container.Config) *apicontainer.Config {
	return &apicontainer.Config{
		Hostname: c.Hostname, Domainname: c.Domainname, User: c.User, Tty: c.TTY, OpenStdin: c.StdinOpen, StdinOnce: c.StdinOnce,
		AttachStdout: true, AttachStderr: true, AttachStdin: c.StdinOnce, Env: c.Env, Cmd: c.Command, Entrypoint: c.Entrypoint,
		Image: c.Image, WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal,
	}
}
