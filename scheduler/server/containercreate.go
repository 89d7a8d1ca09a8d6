package server

import (
	"cmp"
	"net/http"
	"path/filepath"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"

	"tutti/runtime"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/fromdocker"
)

// maxCreate bounds the body that describes one container. A seccomp profile may be in it, and every port.
const maxCreate = 16 << 20

// createContainer answers POST /containers/create.
func (s *server) createContainer(w http.ResponseWriter, r *http.Request) {
	body, ok := readUpTo[fromdocker.Body](w, r, maxCreate)
	if !ok {
		return
	}
	id, warnings, err := s.e.CreateContainer(engine.WithVerb(r.Context(), "create"), r.URL.Query().Get("name"), r.URL.Query().Get("platform"), body)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	answer(w, apicontainer.CreateResponse{ID: id, Warnings: orEmpty(warnings)})
}

// updateContainer answers POST /containers/{id}/update.
func (s *server) updateContainer(w http.ResponseWriter, r *http.Request) {
	q, ok := readUpTo[fromdocker.Update](w, r, maxCreate)
	if !ok {
		return
	}
	warnings, err := s.e.UpdateContainer(r.Context(), r.PathValue("id"), q)
	reply(w, apicontainer.UpdateResponse{Warnings: orEmpty(warnings)}, err)
}

// askedFor is the host configuration that a client of docker's API made a container with, as it is now.
func askedFor(c *container.Config, st container.State) *apicontainer.HostConfig {
	j := *c.Docker.HostConfig
	j.Runtime = cmp.Or(j.Runtime, runtimeName)
	if standard := runtime.DefaultSpec().Linux; !j.Privileged {
		if j.MaskedPaths == nil {
			j.MaskedPaths = standard.MaskedPaths
		}
		if j.ReadonlyPaths == nil {
			j.ReadonlyPaths = standard.ReadonlyPaths
		}
	}
	if st.Updated == nil {
		return &j
	}
	r := fromdocker.Resources(c)
	j.CPUShares, j.NanoCPUs, j.CPUPeriod, j.CPUQuota = r.CPUShares, r.NanoCPUs, r.CPUPeriod, r.CPUQuota
	j.CPURealtimePeriod, j.CPURealtimeRuntime, j.CpusetCpus, j.CpusetMems = r.CPURealtimePeriod, r.CPURealtimeRuntime, r.CpusetCpus, r.CpusetMems
	j.Memory, j.MemorySwap, j.MemoryReservation = r.Memory, r.MemorySwap, r.MemoryReservation
	j.PidsLimit, j.BlkioWeight = r.PidsLimit, r.BlkioWeight
	j.RestartPolicy = restartPolicyJSON(c)
	return &j
}

func restartPolicyJSON(c *container.Config) apicontainer.RestartPolicy {
	return apicontainer.RestartPolicy{Name: apicontainer.RestartPolicyMode(c.Restart.Name), MaximumRetryCount: c.Restart.MaxRetries}
}

// bindMode is the mode of a mount in the Binds of a client's request, which docker tells again; shown is false for a tmpfs that
// it does not list among the mounts.
func bindMode(d *container.Docker, target string) (mode string, shown bool) {
	for path := range d.HostConfig.Tmpfs {
		if filepath.Clean(path) == target {
			return "", false
		}
	}
	for _, bind := range d.HostConfig.Binds {
		if parts := strings.Split(bind, ":"); len(parts) == 3 && filepath.Clean(parts[1]) == target {
			return parts[2], true
		}
	}
	return "", true
}
