package server

import (
	"net/http"
	"time"

	apivolume "github.com/moby/moby/api/types/volume"

	"tutti/scheduler/engine"
	"tutti/scheduler/journal"
	"tutti/volumes"
)

func (s *server) objectRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /containers/json", s.listContainers)
	mux.HandleFunc("GET /containers/{id}/logs", s.containerLogs)
	// There are none.
	mux.HandleFunc("GET /plugins", func(w http.ResponseWriter, _ *http.Request) { answer(w, []struct{}{}) })
	mux.HandleFunc("GET /volumes", s.listVolumes)
	mux.HandleFunc("POST /volumes/create", s.createVolume)
	mux.HandleFunc("GET /volumes/{name}", func(w http.ResponseWriter, r *http.Request) {
		v, err := s.e.Volume(r.PathValue("name"))
		reply(w, volumeJSON(v), err)
	})
	mux.HandleFunc("DELETE /volumes/{name}", func(w http.ResponseWriter, r *http.Request) {
		done(w, s.e.RemoveVolume(r.PathValue("name"), flag(r, "force")))
	})
}

// reply answers v, or the error.
func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		failWith(w, err)
		return
	}
	answer(w, v)
}

// done answers that there is nothing more to say, or the error.
func done(w http.ResponseWriter, err error) {
	if err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// listVolumes answers GET /volumes. Values of one filter are alternatives, but for label.
func (s *server) listVolumes(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), "dangling", "driver", "label", "label!", "name")
	var dangling *bool
	if err == nil {
		dangling, err = choice(filters["dangling"], "dangling", map[string]bool{"true": true, "1": true, "false": false, "0": false})
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	l, err := s.e.Volumes()
	all := apivolume.ListResponse{Volumes: []apivolume.Volume{}, Warnings: []string{}}
	for _, v := range l {
		if is(filters["driver"], v.Driver) && matches(filters["name"], v.Name) && engine.Labelled(v.Labels, filters) &&
			(dangling == nil || *dangling == !s.e.VolumeInUse(v.Name)) {
			all.Volumes = append(all.Volumes, volumeJSON(v))
		}
	}
	reply(w, all, err)
}

func (s *server) createVolume(w http.ResponseWriter, r *http.Request) {
	q, ok := read[apivolume.CreateRequest](w, r)
	if !ok {
		return
	}
	v, err := s.e.CreateVolume(volumes.Spec{Name: q.Name, Driver: q.Driver, DriverOpts: q.DriverOpts, Labels: q.Labels})
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	answer(w, volumeJSON(v))
}

func volumeJSON(v volumes.Volume) apivolume.Volume {
	return apivolume.Volume{
		Name: v.Name, Driver: v.Driver, Labels: v.Labels, Options: orEmptyMap(v.DriverOpts), Mountpoint: v.Path, Scope: "local", CreatedAt: v.CreatedAt.Format(time.RFC3339),
	}
}
