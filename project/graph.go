package project

import (
	"slices"
	"sort"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// Dependency is one edge of the graph: a service needs another one.
type Dependency struct {
	Service string
	// Condition is one of the three of depends_on, spelled as in the file.
	Condition string
	// Required edges fail the dependent when they cannot be met.
	Required bool
	// Restart asks that the dependent is restarted when the dependency was.
	Restart bool
	// Shares is set when the dependent uses a namespace or the volumes of the
	// dependency's containers (network_mode, ipc, pid, uts, volumes_from): it has to
	// be created again when they are.
	Shares bool
}

// Graph is the dependency graph of a project's services. Links, volumes_from and
// `service:` namespaces are edges too. It is immutable and free of cycles.
type Graph struct {
	names        []string // dependencies first, ties by name
	dependencies map[string][]Dependency
	dependents   map[string][]string
}

// Graph returns the dependency graph of the enabled services. Edges to services
// that are not enabled are left out.
func (p *Project) Graph() *Graph {
	g, _ := newGraph(p.Services)
	return g
}

// newGraph also returns the path of a cycle, first service repeated at the end, or nil.
func newGraph(services types.Services) (*Graph, []string) {
	g := &Graph{
		dependencies: make(map[string][]Dependency, len(services)),
		dependents:   make(map[string][]string, len(services)),
	}
	for name, s := range services {
		deps := serviceDependencies(&s)
		deps = slices.DeleteFunc(deps, func(d Dependency) bool {
			_, ok := services[d.Service]
			return !ok
		})
		g.dependencies[name] = deps
		for _, d := range deps {
			g.dependents[d.Service] = append(g.dependents[d.Service], name)
		}
	}
	for _, names := range g.dependents {
		sort.Strings(names)
	}
	cycle := g.sort()
	return g, cycle
}

// serviceDependencies merges depends_on with what is implied, sorted by service.
func serviceDependencies(s *types.ServiceConfig) []Dependency {
	byName := make(map[string]Dependency, len(s.DependsOn))
	for name, d := range s.DependsOn {
		condition := d.Condition
		if condition == "" {
			condition = types.ServiceConditionStarted
		}
		byName[name] = Dependency{Service: name, Condition: condition, Required: d.Required, Restart: d.Restart}
	}
	imply := func(name string, shares, restart bool) {
		d, ok := byName[name]
		if !ok {
			d = Dependency{Service: name, Condition: types.ServiceConditionStarted, Required: true, Restart: restart}
		}
		d.Shares = d.Shares || shares
		byName[name] = d
	}
	for _, link := range s.Links {
		name, _, _ := strings.Cut(link, ":")
		imply(name, false, true)
	}
	for _, mode := range []string{s.NetworkMode, s.Ipc, s.Pid, s.Uts, s.Cgroup} {
		if name, ok := strings.CutPrefix(mode, types.ServicePrefix); ok {
			imply(name, true, true)
		}
	}
	for _, from := range s.VolumesFrom {
		if !strings.HasPrefix(from, types.ContainerPrefix) {
			name, _, _ := strings.Cut(from, ":")
			imply(name, true, false)
		}
	}
	deps := make([]Dependency, 0, len(byName))
	for _, d := range byName {
		deps = append(deps, d)
	}
	sort.Slice(deps, func(i, j int) bool { return deps[i].Service < deps[j].Service })
	return deps
}

// sort fills names by a depth-first walk, which takes each edge once, and returns
// the first cycle that it meets.
func (g *Graph) sort() []string {
	const (
		unseen = iota
		open
		done
	)
	all := make([]string, 0, len(g.dependencies))
	for name := range g.dependencies {
		all = append(all, name)
	}
	sort.Strings(all)
	state := make(map[string]int, len(all))
	g.names = make([]string, 0, len(all))
	var path, cycle []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = open
		path = append(path, name)
		for _, d := range g.dependencies[name] {
			switch state[d.Service] {
			case unseen:
				visit(d.Service)
			case open:
				if cycle == nil {
					from := slices.Index(path, d.Service)
					cycle = append(slices.Clone(path[from:]), d.Service)
				}
			}
		}
		path = path[:len(path)-1]
		state[name] = done
		g.names = append(g.names, name)
	}
	for _, name := range all {
		if state[name] == unseen {
			visit(name)
		}
	}
	return cycle
}

// Services returns all services, each after those that it depends on. The order is
// the same for the same project.
func (g *Graph) Services() []string { return slices.Clone(g.names) }

// Dependencies returns what a service depends on directly, sorted by name.
func (g *Graph) Dependencies(service string) []Dependency {
	return slices.Clone(g.dependencies[service])
}

// Dependents returns the services that depend directly on a service, sorted by name.
func (g *Graph) Dependents(service string) []string {
	return slices.Clone(g.dependents[service])
}

// With returns the named services and everything that they depend on, in the order
// of Services.
func (g *Graph) With(services ...string) []string {
	return g.closure(services, func(name string) []string {
		deps := g.dependencies[name]
		names := make([]string, len(deps))
		for i, d := range deps {
			names[i] = d.Service
		}
		return names
	})
}

// WithDependents returns the named services and everything that depends on them, in
// the order of Services.
func (g *Graph) WithDependents(services ...string) []string {
	return g.closure(services, func(name string) []string { return g.dependents[name] })
}

func (g *Graph) closure(from []string, next func(string) []string) []string {
	in := make(map[string]bool, len(g.names))
	queue := slices.Clone(from)
	for len(queue) > 0 {
		name := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if in[name] {
			continue
		}
		in[name] = true
		queue = append(queue, next(name)...)
	}
	var out []string
	for _, name := range g.names {
		if in[name] {
			out = append(out, name)
		}
	}
	return out
}
