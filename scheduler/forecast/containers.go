package forecast

import (
	"encoding/json"
	"slices"
	"strings"

	"tutti/scheduler/api"
	"tutti/scheduler/plan"
)

// services are the selected ones, those that have to change with them, and orphans, in the order of their names.
func (f *forecaster) services() []api.PlannedService {
	containers := map[string][]plan.Container{}
	for _, c := range f.State.Containers {
		if !c.OneOff {
			containers[c.Service] = append(containers[c.Service], c)
		}
	}
	names := map[string]bool{}
	for name := range f.selected {
		names[name] = f.Project.Services[name].Provider == nil
	}
	known := f.Project.AllServices()
	for name, list := range containers {
		_, ok := known[name]
		names[name] = names[name] || !ok || slices.ContainsFunc(list, f.touches)
	}
	list := []api.PlannedService{}
	for name, wanted := range names {
		if !wanted {
			continue
		}
		_, ok := known[name]
		s := api.PlannedService{Name: name, Orphan: !ok, Before: len(containers[name]), Containers: f.containers(name, containers[name])}
		for _, c := range s.Containers {
			if c.Action != api.ActionRemove {
				s.After++
			}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b api.PlannedService) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// touches tells whether something is done, or may be, with a container that exists.
func (f *forecaster) touches(c plan.Container) bool {
	return len(f.sure.byID[c.ID]) > 0 || len(f.perhaps.byID[c.ID]) > 0
}

// containers are those of a service, by number.
func (f *forecaster) containers(service string, existing []plan.Container) []api.PlannedContainer {
	list := []api.PlannedContainer{}
	replaced := map[string]bool{} // names of those that take another's place
	for _, c := range existing {
		sure, perhaps := f.sure.judge(c), f.perhaps.judge(c)
		p := sure
		if perhaps.Action != sure.Action {
			p.Action, p.Cause = api.ActionUnknown, "perhaps "+string(perhaps.Action)+": "+perhaps.Cause
		}
		switch {
		case sure.Action == api.ActionRecreate:
			p.Differences = f.replaced(c, f.State.Images[f.imageName(service)])
		case perhaps.Action == api.ActionRecreate && perhaps.Action != sure.Action:
			p.Differences = f.replaced(c, plan.Undetermined)
		case p.Action == api.ActionUnchanged:
			p.Cause = remark(c)
		}
		if sure.Action == api.ActionRecreate {
			name := sure.NewName
			if name == "" {
				name = c.Name
			}
			replaced[name] = true
		}
		list = append(list, p)
	}
	for _, op := range f.sure.creates[service] {
		if !replaced[op.Container] {
			list = append(list, api.PlannedContainer{
				Name: op.Container, Number: op.Number, Action: api.ActionCreate, Cause: op.Cause, Starts: f.sure.starts[op.Container],
			})
		}
	}
	slices.SortStableFunc(list, func(a, b api.PlannedContainer) int { return a.Number - b.Number })
	return list
}

func (f *forecaster) imageName(service string) string {
	if _, ok := f.Project.Services[service]; !ok {
		return ""
	}
	return f.Project.ImageName(service)
}

// judge says what a plan does with a container that exists.
func (a acts) judge(c plan.Container) api.PlannedContainer {
	p := api.PlannedContainer{Name: c.Name, Number: c.Number, ID: c.ID, Status: string(c.Status), Action: api.ActionUnchanged}
	ops := a.byID[c.ID]
	start, starts := ops[plan.StartContainer]
	stop, stops := ops[plan.StopContainer]
	remove, removes := ops[plan.RemoveContainer]
	switch {
	case removes:
		p.Action, p.Cause = api.ActionRemove, remove.Cause
		// With new anonymous volumes nothing says that one replaces the other but that it has its number.
		for _, op := range a.creates[c.Service] {
			if op.Number == c.Number {
				p.Action, p.Starts = api.ActionRecreate, a.starts[op.Container]
				if op.Container != c.Name {
					p.NewName = op.Container
				}
			}
		}
	case starts && stops:
		p.Action, p.Cause, p.Starts = api.ActionRestart, start.Cause, true
	case starts:
		p.Action, p.Cause, p.Starts = api.ActionStart, start.Cause, true
	case stops:
		p.Action, p.Cause = api.ActionStop, stop.Cause
	}
	return p
}

// remark says of a container that stays as it is how it is, unless it runs.
func remark(c plan.Container) string {
	if c.Status == plan.Running {
		return ""
	}
	return strings.TrimPrefix(c.Describe(), c.Name+" ")
}

// replaced are the fields in which a container and its successor differ; image is the id of the successor's image.
func (f *forecaster) replaced(c plan.Container, image string) []api.Difference {
	var list []api.Difference
	if c.ConfigHash != f.Project.Hash(c.Service) {
		list = f.differences(c.Config, f.Project.Canonical(c.Service))
	}
	if image == plan.Undetermined {
		list = append(list, api.Difference{Field: "image id", Change: api.ChangeChanged, Before: &c.ImageID, Note: "perhaps: it is known when the image is here"})
	} else if image != "" && c.ImageID != "" && image != c.ImageID {
		list = append(list, api.Difference{Field: "image id", Change: api.ChangeChanged, Before: &c.ImageID, After: &image})
	}
	return list
}

func (f *forecaster) differences(before, after json.RawMessage) []api.Difference {
	list, err := Differences(before, after, f.ShowSecrets)
	if err != nil {
		return []api.Difference{{Field: "configuration", Change: api.ChangeChanged, Note: "what it was is not recorded"}}
	}
	return list
}
