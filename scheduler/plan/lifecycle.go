package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

func compare(a, b string) int { return cmp.Compare(a, b) }

// pick returns the containers of the named services, or of all, without those of `run`.
func pick(s State, services []string) ([]Container, error) {
	var out []Container
	found := map[string]bool{}
	for _, c := range s.Containers {
		if !c.OneOff && (len(services) == 0 || slices.Contains(services, c.Service)) {
			out = append(out, c)
			found[c.Service] = true
		}
	}
	for _, name := range services {
		if !found[name] {
			return nil, fmt.Errorf("%w: service %q has no container", ErrNoSuchService, name)
		}
	}
	return out, nil
}

// StopPlan plans `stop`: dependents stop before what they depend on.
func StopPlan(name string, s State, services []string, timeout *time.Duration) (*Plan, error) {
	containers, err := pick(s, services)
	if err != nil {
		return nil, err
	}
	b := newBuilder()
	stopAll(b, containers, "stop", timeout)
	return b.plan(name), nil
}

// StartPlan plans `start`: the containers of the services, and of those that they need,
// which exist and do not run are started in dependency order, each when what it depends on is
// as its depends_on asked when it was created.
func StartPlan(name string, s State, services []string) (*Plan, error) {
	containers, err := pick(s, services)
	if err != nil {
		return nil, err
	}
	if len(services) > 0 {
		deps, _ := recordedEdges(s.Containers)
		needed := deps.with(services)
		containers = slices.DeleteFunc(slices.Clone(s.Containers), func(c Container) bool { return c.OneOff || !needed[c.Service] })
	}
	b := newBuilder()
	var idle []Container
	for _, c := range containers {
		if c.Status == Created || c.Status == Exited || c.Status == Dead {
			idle = append(idle, c)
		}
	}
	startAll(b, s, idle, nil, func(c Container) string {
		if c.Status == Created {
			return "it was never started"
		}
		return "it exited with " + strconv.Itoa(c.ExitCode)
	})
	return b.plan(name), nil
}

// RestartPlan plans `restart`: containers stop in the reverse order of dependencies and
// start in their order. Unless noDeps, running dependents that say `restart: true` of a
// restarted service are restarted with it.
func RestartPlan(name string, s State, services []string, noDeps bool, timeout *time.Duration) (*Plan, error) {
	containers, err := pick(s, services)
	if err != nil {
		return nil, err
	}
	cause := map[string]string{}
	for _, c := range containers {
		cause[c.ID] = "restart"
	}
	if !noDeps {
		containers = withRestarted(s, containers, cause)
	}
	b := newBuilder()
	stops := stopAll(b, containers, "restart", timeout)
	for i := range b.ops {
		b.ops[i].Cause = cause[b.ops[i].ContainerID]
	}
	startAll(b, s, containers, stops, func(c Container) string { return cause[c.ID] })
	return b.plan(name), nil
}

// withRestarted adds the running containers that are to be restarted with others.
func withRestarted(s State, containers []Container, cause map[string]string) []Container {
	restarted := map[string]bool{}
	for _, c := range containers {
		restarted[c.Service] = true
	}
	for again := true; again; {
		again = false
		for _, c := range byName(s.Containers) {
			if cause[c.ID] != "" || c.OneOff || c.Status != Running {
				continue
			}
			i := slices.IndexFunc(c.DependsOn, func(d Dependency) bool { return d.Restart && restarted[d.Service] })
			if i < 0 {
				continue
			}
			cause[c.ID] = "dependency " + c.DependsOn[i].Service + " is restarted (restart: true)"
			restarted[c.Service] = true
			containers = append(containers, c)
			again = true
		}
	}
	return containers
}

// startAll plans the start of containers in the order of their recorded dependencies,
// each after its own stop if it has one.
func startAll(b *builder, s State, containers []Container, stops map[string]string, cause func(Container) string) {
	deps, order := recordedEdges(s.Containers)
	going := map[string][]Container{}
	staying := map[string][]Container{}
	starting := map[string]bool{}
	for _, c := range containers {
		starting[c.ID] = true
	}
	for _, c := range byName(s.Containers) {
		if starting[c.ID] {
			going[c.Service] = append(going[c.Service], c)
		} else if !c.OneOff {
			staying[c.Service] = append(staying[c.Service], c)
		}
	}
	starts := map[string][]string{}
	for _, name := range order {
		if len(going[name]) == 0 {
			continue
		}
		var before []string
		for _, d := range deps[name] {
			before = append(before, startAfter(b, name, d, starts[d.Service], staying[d.Service])...)
		}
		for _, c := range going[name] {
			starts[name] = append(starts[name], b.add(Op{
				Kind: StartContainer, Service: name, Container: c.Name, Number: c.Number, ContainerID: c.ID, Cause: cause(c),
			}, append([]string{stops[c.ID]}, before...)...))
		}
	}
}

// startAfter is what a start has to wait for because of one dependency. One that has
// no containers any more is left alone, as docker does.
func startAfter(b *builder, name string, d edge, starts []string, staying []Container) []string {
	if d.Condition == "" || (d.Condition == Started && d.Required) {
		return starts
	}
	if len(starts) == 0 && (len(staying) == 0 || met(d.Condition, staying)) {
		return nil
	}
	return []string{b.add(Op{
		Kind: AwaitCondition, Service: d.Service, For: name, Condition: d.Condition, Optional: !d.Required, Cause: "depends_on",
	}, starts...)}
}
