package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

func stopOp(c Container, cause string, timeout *time.Duration) Op {
	return Op{
		Kind: StopContainer, Service: c.Service, Container: c.Name, Number: c.Number, ContainerID: c.ID,
		Timeout: timeout, Cause: cause,
	}
}

// restartDependents stops and starts again the running containers of services that ask
// for that (`restart: true`) when a dependency is replaced, in turn those that depend on
// them in the same way.
func (d *differ) restartDependents() {
	if d.o.NoDeps || d.o.NoStart {
		return
	}
	restarted := map[string]bool{}
	for _, name := range d.order {
		f := d.fates[name]
		if f == nil {
			continue
		}
		cause := ""
		for _, e := range d.edges[name] {
			if e.Restart && len(d.recreated[e.Service]) > 0 {
				cause = "dependency " + e.Service + " is recreated (restart: true)"
			} else if e.Restart && restarted[e.Service] && cause == "" {
				cause = "dependency " + e.Service + " is restarted (restart: true)"
			}
		}
		if cause == "" {
			continue
		}
		for _, c := range f.kept {
			if stop := d.stopRunning(f, c, cause); stop != "" {
				restarted[name] = true
				d.start(f, c, cause, stop)
			}
		}
	}
}

func (d *differ) stopRunning(f *fate, c Container, cause string) string {
	if c.Status != Running && c.Status != Restarting {
		return ""
	}
	return d.stop(f, c, cause)
}

// orderStops lets dependents stop before what they depend on, where both are stopped.
func (d *differ) orderStops() {
	for _, name := range d.order {
		f := d.fates[name]
		if f == nil || len(f.stops) == 0 {
			continue
		}
		for _, e := range d.edges[name] {
			other := d.fates[e.Service]
			if other == nil {
				continue
			}
			for _, id := range other.stops {
				d.build.after(id, f.stops...)
			}
		}
	}
}

// conditions lets containers start only when what they depend on is as depends_on
// asks: after the start of the dependency's containers and, for anything but a plain
// start, after an operation that waits. A condition that holds already, for a
// dependency that this plan does not touch, needs nothing.
func (d *differ) conditions() {
	for _, name := range d.order {
		f := d.fates[name]
		if f == nil || len(f.starts) == 0 {
			continue
		}
		for _, e := range d.edges[name] {
			before := d.before(name, e)
			for _, id := range f.starts {
				d.build.after(id, before...)
			}
		}
		d.preStart(name, f)
	}
}

// preStart puts the service's pre_start hooks in front of its starts, after all that these wait for: once for the whole
// service, and only when none of its containers runs.
func (d *differ) preStart(name string, f *fate) {
	runs := func(c Container) bool { return c.Status == Running }
	if len(d.p.Services[name].PreStart) == 0 || slices.ContainsFunc(f.kept, runs) {
		return
	}
	first := d.build.ops[d.build.index[f.starts[0]]]
	id := d.build.add(Op{
		Kind: PreStart, Service: name, Container: first.Container, Number: first.Number, ContainerID: first.ContainerID, Cause: "pre_start",
	}, first.After...)
	for _, start := range f.starts {
		d.build.after(start, id)
	}
}

// oneOffConditions waits for what the service of `run` depends on.
func (d *differ) oneOffConditions() {
	if d.o.NoDeps {
		return
	}
	for _, e := range d.edges[d.o.OneOff] {
		if other := d.fates[e.Service]; other != nil && other.scale > 0 && (e.Condition != Started || !e.Required) {
			d.await(d.o.OneOff, e, other)
		}
	}
}

// before are the operations that an edge puts before a service's starts: none for what the user left out, unless it
// starts anyway.
func (d *differ) before(name string, e edge) []string {
	other := d.fates[e.Service]
	if other == nil || other.scale == 0 {
		return nil
	}
	leftOut := !d.active[name] || d.o.NoDeps && !d.named[e.Service]
	if leftOut && len(other.starts) == 0 {
		return nil
	}
	if e.Condition == Started && e.Required {
		return other.starts
	}
	if wait := d.await(name, e, other); wait != "" {
		return []string{wait}
	}
	return nil
}

// await plans the wait of one service for another, or nothing if that is met.
func (d *differ) await(name string, e edge, other *fate) string {
	if len(other.starts) == 0 && met(e.Condition, other.kept) {
		return ""
	}
	return d.build.add(Op{
		Kind: AwaitCondition, Service: e.Service, For: name, Condition: e.Condition, Optional: !e.Required,
		Cause: "depends_on",
	}, other.starts...)
}

// met tells whether containers are as a condition asks.
func met(condition Condition, containers []Container) bool {
	for _, c := range containers {
		ok := false
		switch condition {
		case Started:
			ok = c.Status == Running || c.Status == Exited
		case Healthy:
			ok = c.Status == Running && c.Health == HealthHealthy
		case Completed:
			ok = c.Status == Exited && c.ExitCode == 0
		}
		if !ok {
			return false
		}
	}
	return len(containers) > 0
}

// awaitServices adds what `up --wait` waits for.
func (d *differ) awaitServices() {
	for _, name := range d.order {
		f := d.fates[name]
		if !d.active[name] || f == nil || f.scale == 0 {
			continue
		}
		settled := len(f.starts) == 0
		for _, c := range f.kept {
			settled = settled && c.Status == Running && (c.Health == "" || c.Health == HealthHealthy)
		}
		if !settled && !f.done {
			op := Op{Kind: AwaitHealthy, Service: name, Cause: "--wait"}
			if d.isJob(name) {
				op.Condition = Completed
			}
			d.build.add(op, f.starts...)
		}
	}
}

// passNames lets containers be made when those of their names are gone, which another service had or one that is an orphan.
func (d *differ) passNames() {
	for _, op := range d.build.ops {
		removal := string(RemoveContainer) + " " + op.Container
		if op.Kind == CreateContainer && d.build.has(removal) {
			d.build.after(op.ID, removal)
		}
	}
}

// orphans deals with containers of services that the file does not have.
func (d *differ) orphans() {
	all := d.p.AllServices()
	var names []string
	for _, service := range slices.Sorted(maps.Keys(d.containers)) {
		if _, known := all[service]; known {
			continue
		}
		f := &fate{touched: map[string]bool{}}
		for _, c := range d.containers[service] {
			if d.o.RemoveOrphans {
				d.remove(f, c, "orphan", false)
				continue
			}
			names = append(names, c.Name)
		}
	}
	if len(names) > 0 {
		d.build.note(fmt.Sprintf("orphan containers %v are of services that are not in the file; --remove-orphans removes them", names))
	}
}
