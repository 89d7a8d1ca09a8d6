package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	apimount "github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/journal"
)

// containerSummary is an entry of GET /containers/json. docker's own type has a NetworkSettings that only the daemon's
// internals fill; the fields here are those that its clients read.
type containerSummary struct {
	ID              string `json:"Id"`
	Names           []string
	Image           string
	ImageID         string
	Command         string
	Created         int64
	Ports           []portSummary
	SizeRw          int64 `json:",omitempty"`
	SizeRootFs      int64 `json:",omitempty"`
	Labels          map[string]string
	State           string
	Status          string
	HostConfig      struct{ NetworkMode string }
	Health          *healthSummary `json:",omitempty"`
	NetworkSettings struct {
		Networks map[string]*apinetwork.EndpointSettings
	}
	Mounts []apicontainer.MountPoint
}

type portSummary struct {
	IP          string `json:",omitempty"`
	PrivatePort int
	PublicPort  int `json:",omitempty"`
	Type        string
}

type healthSummary struct{ Status string }

// listContainers answers GET /containers/json, the newest first. As in docker, a state in the filters or a limit stands for all
// containers, also those that do not run.
func (s *server) listContainers(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), containerFilterKeys...)
	limit, limitErr := limitOf(r)
	if err = cmp.Or(err, limitErr); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	match, err := s.containerFilter(r.Context(), filters)
	if err != nil {
		failWith(w, err)
		return
	}
	sizes := map[string]int64{}
	if flag(r, "size") {
		if sizes, err = s.containerSizes(r.Context()); err != nil {
			failWith(w, err)
			return
		}
	}
	list := s.e.AllContainers()
	slices.SortStableFunc(list, func(a, b api.Container) int { return b.Created.Compare(a.Created) })
	everything := flag(r, "all") || limit > 0 || len(filters["status"]) > 0
	all := []containerSummary{}
	for _, c := range list {
		config, st, err := s.e.Inspect(c.ID)
		if err != nil || !isActive(c.State) && !everything || !match(listedContainer{c, &config}) {
			continue // removed meanwhile, or not asked for
		}
		j := s.summaryOf(c, &config, st)
		if size, ok := sizes[c.ID]; ok {
			j.SizeRw, j.SizeRootFs = size, size+s.imageSize(r.Context(), c.ImageID)
		}
		if all = append(all, j); len(all) == limit {
			break
		}
	}
	answer(w, all)
}

// limitOf is the parameter limit: 0 for none.
func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("the limit %q is no number", text)
	}
	return max(n, 0), nil
}

// containerSizes are the bytes that containers have written.
func (s *server) containerSizes(ctx context.Context) (map[string]int64, error) {
	list, err := s.e.ContainerUsage(ctx)
	sizes := map[string]int64{}
	for _, c := range list {
		sizes[c.ID] = c.Size
	}
	return sizes, err
}

// imageSize is 0 for an image that is gone.
func (s *server) imageSize(ctx context.Context, id string) int64 {
	i, err := s.e.Image(ctx, id)
	if err != nil {
		return 0
	}
	return i.Size
}

func (s *server) summaryOf(c api.Container, config *container.Config, st container.State) containerSummary {
	j := containerSummary{
		ID: c.ID, Names: []string{"/" + c.Name}, Image: c.Image, ImageID: c.ImageID, Command: api.CommandLine(c.Command),
		Created: c.Created.Unix(), Labels: c.Labels, State: c.State, Status: c.Status, Ports: []portSummary{}, Mounts: s.mountPoints(config),
	}
	j.HostConfig.NetworkMode = networkMode(config)
	j.NetworkSettings.Networks = s.networkSettings(config, st).Networks
	for _, p := range c.Publishers {
		j.Ports = append(j.Ports, portSummary{IP: p.URL, PrivatePort: p.TargetPort, PublicPort: p.PublishedPort, Type: p.Protocol})
	}
	if c.Health != "" {
		j.Health = &healthSummary{c.Health}
	}
	return j
}

// networkMode is docker's word for where a container's network comes from: of several networks the first.
func networkMode(c *container.Config) string {
	if c.Docker != nil {
		return string(c.Docker.HostConfig.NetworkMode)
	}
	if c.NetworkMode != "" || len(c.Networks) == 0 {
		return cmp.Or(c.NetworkMode, "none")
	}
	return c.Networks[0].Network
}

// mountPoints are what is mounted in a container, as docker has it.
func (s *server) mountPoints(c *container.Config) []apicontainer.MountPoint {
	all := []apicontainer.MountPoint{}
	for _, m := range c.Mounts {
		p := apicontainer.MountPoint{Type: apimount.Type(m.Type), Source: m.Source, Destination: m.Target, RW: !m.ReadOnly}
		if m.Type == "volume" {
			p.Name, p.Driver = m.Source, "local"
			if v, err := s.e.Volume(m.Source); err == nil {
				p.Driver, p.Source = v.Driver, v.Path
			}
		}
		if m.ReadOnly {
			p.Mode = "ro"
		}
		if m.Type == "bind" {
			p.Propagation = apimount.Propagation(cmp.Or(m.Propagation, "rprivate"))
		}
		if c.Docker != nil {
			var shown bool
			if p.Mode, shown = bindMode(c.Docker, m.Target); !shown {
				continue
			}
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b apicontainer.MountPoint) int { return strings.Compare(a.Destination, b.Destination) })
	return all
}

func orEmpty(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
