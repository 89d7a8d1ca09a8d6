package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// service plans the containers of one service. Those that it depends on are planned
// already. A service that the user did not select is only touched when its containers
// cannot stay: because they share a namespace with, or are on a network of, something
// that is made anew.
func (d *differ) service(name string) {
	if d.p.Services[name].Provider != nil {
		return
	}
	existing := d.containers[name]
	f := &fate{scale: d.scale(name), touched: map[string]bool{}}
	d.fates[name] = f
	if !d.active[name] {
		f.scale = len(existing)
	}
	config := canonical{}
	if len(existing) > 0 {
		config.hash = d.p.Hash(name)
		config.fields = sync.OnceValue(func() json.RawMessage { return d.p.Canonical(name) })
	}
	causes := make(map[string]string, len(existing))
	for _, c := range existing {
		causes[c.ID] = d.recreateCause(name, c, config)
	}
	keep, excess := choose(existing, f.scale, causes)
	for _, c := range excess {
		d.remove(f, c, fmt.Sprintf("scaled down to %d", f.scale), false)
	}
	used := map[int]bool{}
	for _, c := range keep {
		used[c.Number] = true
		if causes[c.ID] == "" {
			d.keep(f, c)
			continue
		}
		d.replace(f, name, c, causes[c.ID])
	}
	cause := "missing"
	if len(existing) > 0 {
		cause = fmt.Sprintf("missing: there are %d of %d", len(keep), f.scale)
	}
	for number := 1; len(used) < f.scale; number++ {
		if !used[number] {
			used[number] = true
			d.create(f, Container{Service: name, Number: number}, true, cause)
		}
	}
}

// choose splits containers into those to keep, lowest numbers first, and those that
// are too many: first the ones that would be replaced anyway, then the highest numbers.
func choose(existing []Container, scale int, causes map[string]string) (keep, excess []Container) {
	list := slices.Clone(existing)
	slices.SortStableFunc(list, func(a, b Container) int {
		if stale := boolInt(causes[a.ID] != "") - boolInt(causes[b.ID] != ""); stale != 0 {
			return stale
		}
		return a.Number - b.Number
	})
	keep, excess = list[:min(scale, len(list))], list[min(scale, len(list)):]
	slices.SortFunc(keep, func(a, b Container) int { return a.Number - b.Number })
	return keep, excess
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// canonical is a service's configuration for comparing.
type canonical struct {
	hash   string
	fields func() json.RawMessage
}

// recreateCause says why a container has to be replaced; empty when it can stay.
func (d *differ) recreateCause(name string, c Container, config canonical) string {
	for _, e := range d.edges[name] {
		if e.shares && len(d.recreated[e.Service]) > 0 {
			return "it uses namespaces or volumes of " + e.Service + ", which is recreated"
		}
	}
	for _, network := range c.Networks {
		if d.renewed[network] {
			return "network " + network + " changed"
		}
	}
	if !d.active[name] {
		return ""
	}
	switch {
	case d.o.NoRecreate:
		return ""
	case d.o.ForceRecreate && d.named[name]:
		return "recreation was asked for"
	case d.o.AlwaysRecreateDeps && !d.named[name]:
		return "recreation of dependencies was asked for"
	case c.Status == Dead:
		return "it is dead"
	case c.ConfigHash != config.hash:
		return "config changed" + changedKeys(c.Config, config.fields)
	}
	if id, known := d.s.Images[d.p.ImageName(name)]; known && c.ImageID != "" && id != c.ImageID {
		if id == Undetermined {
			return "image " + d.p.ImageName(name) + " may be another one"
		}
		return "image changed: " + shortID(c.ImageID) + " → " + shortID(id)
	}
	for _, key := range slices.Sorted(maps.Keys(d.p.Services[name].Networks)) {
		if network := d.p.Networks[key].Name; !slices.Contains(c.Networks, network) {
			return "it is not on network " + network
		}
	}
	return ""
}

// changedKeys names the attributes that differ, when the old ones are known.
func changedKeys(before json.RawMessage, after func() json.RawMessage) string {
	var was, is map[string]json.RawMessage
	if len(before) == 0 || json.Unmarshal(before, &was) != nil || json.Unmarshal(after(), &is) != nil {
		return ""
	}
	var keys []string
	for key, value := range is {
		if !bytes.Equal(value, was[key]) {
			keys = append(keys, key)
		}
	}
	for key := range was {
		if _, ok := is[key]; !ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	slices.Sort(keys)
	return ": " + strings.Join(keys, ", ")
}

// keep plans the start of a container that stays, if it has to be started.
func (d *differ) keep(f *fate, c Container) {
	f.kept = append(f.kept, c)
	switch c.Status {
	case Running, Restarting:
		return
	case Paused:
		d.build.note("container " + c.Name + " is paused and stays so")
		return
	case Created, Exited, Dead:
	}
	if !d.active[c.Service] || d.o.NoStart {
		return
	}
	cause := "it was never started"
	if c.Status != Created {
		cause = "it exited with " + strconv.Itoa(c.ExitCode)
	}
	if d.isJob(c.Service) && fulfils(Completed, c) {
		if cause = d.rerun(c); cause == "" {
			f.done = true
			return
		}
	}
	d.start(f, c, cause)
}

func (d *differ) start(f *fate, c Container, cause string, after ...string) {
	id := d.build.add(Op{
		Kind: StartContainer, Service: c.Service, Container: c.Name, Number: c.Number, ContainerID: c.ID, Cause: cause,
	}, after...)
	f.starts = append(f.starts, id)
	f.touched[c.ID] = true
}

// stop plans the stop of a container that runs and returns the operation, or nothing.
func (d *differ) stop(f *fate, c Container, cause string, after ...string) string {
	f.touched[c.ID] = true
	if c.Status != Running && c.Status != Restarting && c.Status != Paused {
		return ""
	}
	id := d.build.add(stopOp(c, cause, d.o.Timeout), after...)
	f.stops = append(f.stops, id)
	return id
}

// remove plans the removal of a container and returns the operation.
func (d *differ) remove(f *fate, c Container, cause string, keepVolumes bool, after ...string) string {
	stop := d.stop(f, c, cause, after...)
	id := d.build.add(Op{
		Kind: RemoveContainer, Service: c.Service, Container: c.Name, Number: c.Number, ContainerID: c.ID,
		KeepVolumes: keepVolumes, Cause: cause,
	}, append(after, stop)...)
	for _, network := range c.Networks {
		if removal := string(RemoveNetwork) + " " + network; d.renewed[network] && d.build.has(removal) {
			d.build.after(removal, id)
		}
	}
	return id
}

// replace plans a new container of the same name in place of one. The old one stays
// until everything that the new one needs is there, but for a network that can only be
// made anew without it.
func (d *differ) replace(f *fate, name string, c Container, cause string) {
	if d.recreated[name] == nil {
		d.recreated[name] = map[string]bool{}
	}
	d.recreated[name][c.ID] = true
	var before []string
	for _, id := range d.resources(name) {
		if !strings.HasPrefix(id, string(CreateNetwork)) {
			before = append(before, id)
		}
	}
	removed := d.remove(f, c, cause, !d.o.RenewAnonVolumes, before...)
	old := c
	if d.o.RenewAnonVolumes {
		old.ID = ""
	}
	// One that is replaced only because of something else goes on as it was.
	d.create(f, old, d.active[name] || c.Status == Running || c.Status == Restarting, cause, removed)
}

// create plans a new container of a service and number, and its start. With an id, it
// takes over that container's anonymous volumes.
func (d *differ) create(f *fate, as Container, start bool, cause string, after ...string) {
	name := as.Service
	container := containerName(d.p.Name, d.p.Services[name].ContainerName, name, as.Number)
	after = append(after, d.resources(name)...)
	for _, e := range d.edges[name] {
		if other := d.fates[e.Service]; e.shares && other != nil {
			after = append(after, other.creates...)
		}
	}
	id := d.build.add(Op{
		Kind: CreateContainer, Service: name, Container: container, Number: as.Number, Replaces: as.ID, Cause: cause,
	}, after...)
	f.creates = append(f.creates, id)
	if d.o.NoStart || !start {
		return
	}
	f.starts = append(f.starts, d.build.add(Op{
		Kind: StartContainer, Service: name, Container: container, Number: as.Number, Cause: "created",
	}, id))
}

// containerName follows docker compose: the given name, or project-service-number.
func containerName(project, given, service string, number int) string {
	if given != "" {
		return given
	}
	return project + "-" + service + "-" + strconv.Itoa(number)
}
