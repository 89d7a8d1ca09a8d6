// Package forecast tells of a plan what becomes of everything that it is about, and why: of each container, network, volume
// and image, and field by field where the compose file differs from what is there. It is pure, and touches nothing.
package forecast

import (
	"maps"
	"slices"
	"strings"

	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/plan"
)

// Question is what a forecast is made of: a foresight, and what [plan.Foresee] made it of.
type Question struct {
	Project   *project.Project
	State     plan.State
	Options   plan.Options
	Foresight plan.Foresight
	// ShowSecrets shows the values that look like secrets, too: see Differences.
	ShowSecrets bool
}

// Of answers a question.
func Of(q Question) api.Plan {
	f := &forecaster{Question: q, selected: map[string]bool{}, sure: actsOf(q.Foresight.Sure), perhaps: actsOf(q.Foresight.Perhaps)}
	names := q.Options.Services
	switch {
	case len(names) == 0:
		names = q.Project.ServiceNames()
	case !q.Options.NoDeps:
		names = q.Project.Graph().With(names...)
	}
	for _, name := range names {
		f.selected[name] = true
	}
	p := api.Plan{
		Project: q.Project.Name, Images: f.images(), Networks: f.networks(), Volumes: f.volumes(), Services: f.services(),
		Order: order(q.Foresight.Sure), Notes: slices.Clone(q.Foresight.Sure.Notes),
	}
	for _, op := range q.Foresight.Sure.Ops {
		if !op.Kind.Waits() {
			p.Changes++
		}
	}
	if p.Notes == nil {
		p.Notes = []string{}
	}
	return p
}

// forecaster is one forecast on its way.
type forecaster struct {
	Question
	selected      map[string]bool // services that the plan is about
	sure, perhaps acts
}

// acts are the operations of a plan, by what they are about.
type acts struct {
	byID      map[string]map[plan.Kind]plan.Op // of containers that exist, by their ids
	creates   map[string][]plan.Op             // of containers that do not, by their services
	starts    map[string]bool                  // names of containers
	resources map[plan.Kind]map[string]plan.Op // of images, networks and volumes, by their names
}

func actsOf(p *plan.Plan) acts {
	a := acts{
		byID: map[string]map[plan.Kind]plan.Op{}, creates: map[string][]plan.Op{}, starts: map[string]bool{},
		resources: map[plan.Kind]map[string]plan.Op{},
	}
	for _, op := range p.Ops {
		switch {
		case op.Resource != "":
			if a.resources[op.Kind] == nil {
				a.resources[op.Kind] = map[string]plan.Op{}
			}
			a.resources[op.Kind][op.Resource] = op
		case op.Kind == plan.CreateContainer:
			a.creates[op.Service] = append(a.creates[op.Service], op)
		case op.Kind == plan.StartContainer || op.Kind == plan.StopContainer || op.Kind == plan.RemoveContainer:
			if op.ContainerID == "" {
				break
			}
			if a.byID[op.ContainerID] == nil {
				a.byID[op.ContainerID] = map[plan.Kind]plan.Op{}
			}
			a.byID[op.ContainerID][op.Kind] = op
		}
		if op.Kind == plan.StartContainer {
			a.starts[op.Container] = true
		}
	}
	return a
}

// images are those of the selected services, and those that are pulled or built beside them.
func (f *forecaster) images() []api.PlannedImage {
	users := map[string][]string{}
	for name := range f.selected {
		if f.Project.Services[name].Provider == nil {
			ref := f.Project.ImageName(name)
			users[ref] = append(users[ref], name)
		}
	}
	all := map[string]bool{}
	for _, kind := range []plan.Kind{plan.PullImage, plan.BuildImage} {
		for ref := range f.sure.resources[kind] {
			all[ref] = true
		}
	}
	for ref := range users {
		all[ref] = true
	}
	list := []api.PlannedImage{}
	for _, ref := range slices.Sorted(maps.Keys(all)) {
		slices.Sort(users[ref])
		image := api.PlannedImage{Name: ref, ID: f.State.Images[ref], Action: api.ActionUnchanged, Services: users[ref]}
		if op, ok := f.sure.resources[plan.PullImage][ref]; ok {
			image.Action, image.Cause = api.ActionPull, op.Cause
		}
		if op, ok := f.sure.resources[plan.BuildImage][ref]; ok {
			image.Action, image.Cause = api.ActionBuild, op.Cause
		}
		list = append(list, image)
	}
	return list
}

// networks are those that the selected services are on, as far as the compose file defines them.
func (f *forecaster) networks() []api.PlannedResource {
	list := []api.PlannedResource{}
	for _, key := range f.used(func(name string) []string { return slices.Collect(maps.Keys(f.Project.Services[name].Networks)) }) {
		n := f.Project.Networks[key]
		r := api.PlannedResource{Name: n.Name, Key: key, Action: api.ActionUnchanged, External: bool(n.External)}
		op, made := f.sure.resources[plan.CreateNetwork][n.Name]
		if _, removed := f.sure.resources[plan.RemoveNetwork][n.Name]; removed && made {
			r.Action, r.Cause = api.ActionRecreate, op.Cause
			i := slices.IndexFunc(f.State.Networks, func(found plan.Network) bool { return found.Name == n.Name })
			r.Differences = f.differences(f.State.Networks[i].Config, f.Project.NetworkCanonical(key))
		} else if made {
			r.Action, r.Cause = api.ActionCreate, op.Cause
		}
		list = append(list, r)
	}
	return list
}

// volumes are the named ones of the selected services.
func (f *forecaster) volumes() []api.PlannedResource {
	list := []api.PlannedResource{}
	mounted := func(name string) (keys []string) {
		for _, v := range f.Project.Services[name].Volumes {
			if _, named := f.Project.Volumes[v.Source]; named && v.Type == "volume" {
				keys = append(keys, v.Source)
			}
		}
		return keys
	}
	for _, key := range f.used(mounted) {
		v := f.Project.Volumes[key]
		r := api.PlannedResource{Name: v.Name, Key: key, Action: api.ActionUnchanged, External: bool(v.External)}
		if op, ok := f.sure.resources[plan.CreateVolume][v.Name]; ok {
			r.Action, r.Cause = api.ActionCreate, op.Cause
		}
		list = append(list, r)
	}
	return list
}

// used are the keys that the selected services name, sorted.
func (f *forecaster) used(of func(service string) []string) []string {
	used := map[string]bool{}
	for name := range f.selected {
		for _, key := range of(name) {
			used[key] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// order is the plan's operations by when they begin.
func order(p *plan.Plan) [][]api.PlannedStep {
	rounds := [][]api.PlannedStep{}
	for _, ops := range p.Rounds() {
		round := make([]api.PlannedStep, 0, len(ops))
		for _, op := range ops {
			round = append(round, api.PlannedStep{
				ID: op.ID, Operation: string(op.Kind), Subject: op.Subject(), Service: op.Service, Cause: op.Cause, After: op.After,
			})
		}
		slices.SortStableFunc(round, func(a, b api.PlannedStep) int { return strings.Compare(a.Operation, b.Operation) })
		rounds = append(rounds, round)
	}
	return rounds
}
