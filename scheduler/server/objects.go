package server

import (
	"net/http"
	"strings"
	"time"

	apivolume "github.com/moby/moby/api/types/volume"

	"tutti/scheduler/api"
	"tutti/volumes"
)

func (s *server) objectRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /containers/json", s.listContainers)
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

// containerSummary is an entry of GET /containers/json. docker's own type has a NetworkSettings that only the daemon's
// internals fill; the fields here are those that its clients read.
type containerSummary struct {
	ID      string `json:"Id"`
	Names   []string
	Image   string
	ImageID string
	Command string
	Created int64
	Ports   []portSummary
	Labels  map[string]string
	State   string
	Status  string
	Health  *healthSummary `json:",omitempty"`
}

type portSummary struct {
	IP          string `json:",omitempty"`
	PrivatePort int
	PublicPort  int `json:",omitempty"`
	Type        string
}

type healthSummary struct{ Status string }

func (s *server) listContainers(w http.ResponseWriter, r *http.Request) {
	all := []containerSummary{}
	for _, c := range s.e.AllContainers() {
		if !isActive(c.State) && !flag(r, "all") {
			continue
		}
		all = append(all, summaryOf(c))
	}
	answer(w, all)
}

func summaryOf(c api.Container) containerSummary {
	j := containerSummary{
		ID: c.ID, Names: []string{"/" + c.Name}, Image: c.Image, ImageID: c.ImageID, Command: strings.Join(c.Command, " "),
		Created: c.Created.Unix(), Labels: c.Labels, State: c.State, Status: c.Status, Ports: []portSummary{},
	}
	for _, p := range c.Publishers {
		j.Ports = append(j.Ports, portSummary{IP: p.URL, PrivatePort: p.TargetPort, PublicPort: p.PublishedPort, Type: p.Protocol})
	}
	if c.Health != "" {
		j.Health = &healthSummary{c.Health}
	}
	return j
}

func orEmpty(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func (s *server) listVolumes(w http.ResponseWriter, _ *http.Request) {
	l, err := s.e.Volumes()
	all := apivolume.ListResponse{Volumes: []apivolume.Volume{}, Warnings: []string{}}
	for _, v := range l {
		all.Volumes = append(all.Volumes, volumeJSON(v))
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
		Name: v.Name, Driver: v.Driver, Labels: v.Labels, Options: v.DriverOpts, Mountpoint: v.Path, Scope: "local", CreatedAt: v.CreatedAt.Format(time.RFC3339),
	}
}
