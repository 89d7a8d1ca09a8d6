package engine

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// Containers lists a project's containers, stopped ones too.
func (e *Engine) Containers(project string) ([]api.Container, error) {
	model, err := e.AppliedModel(project)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	all := []api.Container{}
	for _, u := range e.ProjectUnits(project) {
		c := e.describe(u, now)
		if model != nil {
			_, has := model.Services[c.Service]
			c.Orphan = !has && !c.OneOff
		}
		all = append(all, c)
	}
	return all, nil
}

// AllContainers lists the containers of every project.
func (e *Engine) AllContainers() []api.Container {
	now := time.Now()
	all := []api.Container{}
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		all = append(all, e.describe(u, now))
	}
	return all
}

func (e *Engine) describe(u *Unit, now time.Time) api.Container {
	s, c := u.Snapshot(), u.Now()
	d := api.Container{
		ID: c.ID, Name: c.Name, Project: c.Project, Service: c.Service, Number: c.Number, OneOff: c.OneOff, Image: c.Image, ImageID: c.ImageID,
		Command: c.Args(), State: string(s.Status), Status: s.Describe(now), Health: s.HealthStatus(), ExitCode: s.ExitCode, OOMKilled: s.OOMKilled,
		Pid: s.Pid, Created: c.Created, Started: s.Started, Finished: s.Finished, Restarts: s.Restarts, Labels: c.Labels, Networks: map[string]string{},
		TTY: c.TTY, StdinOpen: c.StdinOpen,
	}
	for _, w := range u.waitsFor() {
		d.Waits = append(d.Waits, w.String())
	}
	for _, a := range c.Networks {
		d.Networks[a.Network] = ""
	}
	for _, p := range s.Endpoints {
		if s.Alive() {
			if all := p.Addresses(); len(all) > 0 { // none where somebody else gives them out
				d.Networks[p.Network] = all[0].String()
			}
		}
	}
	if c.NetworkMode != "" {
		d.Networks[c.NetworkMode] = ""
	}
	bound := map[string]bool{}
	for _, b := range s.Bindings {
		bound[fmt.Sprint(b.ContainerPort, b.Proto)] = true
		p := api.Publisher{TargetPort: int(b.ContainerPort), PublishedPort: int(b.HostPort), Protocol: b.Proto}
		if b.HostPort != 0 { // else it is reached at the container's own address
			p.URL = b.HostIP.String()
		}
		d.Publishers = append(d.Publishers, p)
	}
	if s.Alive() {
		for _, p := range c.Exposed {
			if !bound[fmt.Sprint(p.Target, p.Protocol)] {
				d.Publishers = append(d.Publishers, api.Publisher{TargetPort: int(p.Target), Protocol: p.Protocol})
			}
		}
	}
	for _, m := range c.Mounts {
		if m.Source != "" {
			d.Mounts = append(d.Mounts, m.Source)
		}
	}
	return d
}

// Projects lists the projects that have containers.
func (e *Engine) Projects() []api.Project {
	states := map[string]map[string]int{}
	files := map[string]string{}
	for _, u := range e.SelectUnits(func(c *container.Config) bool { return c.Project != "" }) {
		p := u.Config.Project
		if states[p] == nil {
			states[p] = map[string]int{}
		}
		states[p][string(u.Snapshot().Status)]++
		files[p] = u.Config.Labels[api.LabelConfigFiles]
	}
	all := []api.Project{}
	for name, s := range states {
		var parts []string
		for state, n := range s {
			parts = append(parts, fmt.Sprintf("%s(%d)", state, n))
		}
		sort.Strings(parts)
		all = append(all, api.Project{Name: name, Status: strings.Join(parts, ", "), ConfigFiles: strings.Split(files[name], ",")})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}
