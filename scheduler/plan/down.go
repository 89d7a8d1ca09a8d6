package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tutti/project"
)

// DownOptions are the choices of `down`.
type DownOptions struct {
	// Services limits down to the containers of these services.
	Services []string
	// Volumes removes the project's named volumes and its containers' anonymous ones.
	Volumes bool
	// RemoveOrphans also removes containers of services that the file does not have,
	// and those of `run`.
	RemoveOrphans bool
	// RMI removes images: "" none, "local" those without a name of their own, "all".
	RMI string
	// Timeout is the grace period of stops; nil: each container's own.
	Timeout *time.Duration
}

// DownPlan plans what `down` has to do for the named project. The compose file may be
// missing (p is nil): what containers, networks and volumes belong to the project, and
// the order of their stops, is recorded with them. Networks and volumes that have left
// the file since go too.
func DownPlan(name string, p *project.Project, s State, o DownOptions) *Plan {
	// The order of the state's lists means nothing and shall not show.
	s.Networks = slices.Clone(s.Networks)
	slices.SortFunc(s.Networks, func(a, b Network) int { return compare(a.Name, b.Name) })
	s.Volumes = slices.Clone(s.Volumes)
	slices.SortFunc(s.Volumes, func(a, b Volume) int { return compare(a.Name, b.Name) })
	d := &downer{name: name, p: p, s: s, o: o, build: newBuilder(), removals: map[string]string{}}
	d.containers()
	if len(o.Services) == 0 {
		d.networks()
		if o.Volumes {
			d.volumes()
		}
	}
	d.images()
	return d.build.plan(name)
}

type downer struct {
	name     string
	p        *project.Project
	s        State
	o        DownOptions
	build    *builder
	removals map[string]string // container id → operation
}

// wanted tells whether a container goes.
func (d *downer) wanted(c Container) bool {
	if len(d.o.Services) > 0 && !slices.Contains(d.o.Services, c.Service) {
		return false
	}
	if c.Hook { // a crash has left it behind
		return true
	}
	if d.o.RemoveOrphans || d.p == nil && !c.OneOff {
		return true
	}
	if d.p == nil || c.OneOff {
		return false
	}
	_, known := d.p.AllServices()[c.Service]
	return known
}

func (d *downer) containers() {
	var going []Container
	var staying []string
	for _, c := range d.s.Containers {
		if d.wanted(c) {
			going = append(going, c)
		} else if len(d.o.Services) == 0 {
			staying = append(staying, c.Name)
		}
	}
	if len(staying) > 0 {
		slices.Sort(staying)
		d.build.note(fmt.Sprintf("containers %v are of `run` or of services that are not in the file; --remove-orphans removes them", staying))
	}
	stops := stopAll(d.build, going, "down", d.o.Timeout)
	for _, c := range byName(going) {
		d.removals[c.ID] = d.build.add(Op{
			Kind: RemoveContainer, Service: c.Service, Container: c.Name, Number: c.Number, ContainerID: c.ID,
			Volumes: d.o.Volumes, Cause: "down",
		}, stops[c.ID])
	}
}

func byName(containers []Container) []Container {
	list := slices.Clone(containers)
	slices.SortFunc(list, func(a, b Container) int {
		if a.Service != b.Service {
			return compare(a.Service, b.Service)
		}
		if a.Number != b.Number {
			return a.Number - b.Number
		}
		return compare(a.Name, b.Name)
	})
	return list
}

// stopAll plans the stop of the running ones, dependents before what they depend on,
// and returns the operations by container id.
func stopAll(b *builder, containers []Container, cause string, timeout *time.Duration) map[string]string {
	deps, order := recordedEdges(containers)
	dependents := deps.dependents(order)
	byService := map[string][]Container{}
	for _, c := range byName(containers) {
		byService[c.Service] = append(byService[c.Service], c)
	}
	stops := map[string]string{}
	// last are the operations after which a service and all that depend on it are stopped.
	last := map[string][]string{}
	for _, name := range slices.Backward(order) {
		var before []string
		for _, dependent := range dependents[name] {
			before = append(before, last[dependent]...)
		}
		for _, c := range byService[name] {
			if c.Status != Running && c.Status != Restarting && c.Status != Paused {
				continue
			}
			stops[c.ID] = b.add(stopOp(c, cause, timeout), before...)
			last[name] = append(last[name], stops[c.ID])
		}
		// A service without running containers passes the order on.
		if len(last[name]) == 0 {
			last[name] = before
		}
	}
	return stops
}

// networks plans the removal of the project's networks, except those that a container
// which stays is on.
func (d *downer) networks() {
	for _, n := range d.s.Networks {
		if !d.owns(n) {
			continue
		}
		if user := d.stayingUser(func(c Container) bool { return slices.Contains(c.Networks, n.Name) }); user != "" {
			d.build.note("network " + n.Name + " stays: container " + user + " uses it")
			continue
		}
		d.build.add(Op{Kind: RemoveNetwork, Resource: n.Name, Key: n.Key, ResourceID: n.ID, Cause: "down", Shared: true},
			d.removalsOf(func(c Container) bool { return slices.Contains(c.Networks, n.Name) })...)
	}
}

// owns tells whether a network goes with the project: one that was made for it, or for
// another project that names the same network as its own and may have gone before; and
// the default bridge, if it is on that.
func (d *downer) owns(n Network) bool {
	if n.Name == DefaultBridge && n.Project == "" {
		return slices.ContainsFunc(d.s.Containers, func(c Container) bool { return slices.Contains(c.Networks, n.Name) })
	}
	if n.Project == d.name || n.Project == "" || d.p == nil {
		return n.Project == d.name
	}
	for _, c := range d.p.Networks {
		if c.Name == n.Name && !bool(c.External) {
			return true
		}
	}
	return false
}

func (d *downer) volumes() {
	for _, v := range d.s.Volumes {
		if v.Project != d.name {
			continue
		}
		uses := func(c Container) bool { return slices.Contains(c.Volumes, v.Name) }
		if user := d.stayingUser(uses); user != "" {
			d.build.note("volume " + v.Name + " stays: container " + user + " uses it")
			continue
		}
		d.build.add(Op{Kind: RemoveVolume, Resource: v.Name, Key: v.Key, Cause: "down -v"}, d.removalsOf(uses)...)
	}
}

func (d *downer) stayingUser(uses func(Container) bool) string {
	for _, c := range d.s.Containers {
		if d.removals[c.ID] == "" && uses(c) {
			return c.Name
		}
	}
	return ""
}

func (d *downer) removalsOf(uses func(Container) bool) []string {
	var ids []string
	for _, c := range byName(d.s.Containers) {
		if id := d.removals[c.ID]; id != "" && uses(c) {
			ids = append(ids, id)
		}
	}
	return ids
}

// images plans the removal of images for --rmi, each after the containers that run it.
func (d *downer) images() {
	if d.o.RMI == "" {
		return
	}
	refs := map[string]bool{}
	for _, c := range d.s.Containers {
		if d.removals[c.ID] != "" && c.Image != "" && (d.o.RMI == "all" || c.Image == d.name+"-"+c.Service) {
			refs[c.Image] = true
		}
	}
	if d.p != nil {
		for name, s := range d.p.Services {
			if (len(d.o.Services) == 0 || slices.Contains(d.o.Services, name)) && (d.o.RMI == "all" || s.Image == "") {
				refs[d.p.ImageName(name)] = true
			}
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		id, present := d.s.Images[ref]
		if !present {
			continue
		}
		d.build.add(Op{Kind: RemoveImage, Resource: ref, Cause: "--rmi " + d.o.RMI},
			d.removalsOf(func(c Container) bool { return c.Image == ref || c.ImageID == id })...)
	}
}
