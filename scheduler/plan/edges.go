package plan

import (
	"maps"
	"slices"

	"tutti/project"
)

// edge is a dependency of one service on another.
type edge struct {
	Dependency
	shares bool // a namespace or volumes of the other's containers
}

// edges are the dependencies by service.
type edges map[string][]edge

// fileEdges are those of the compose file.
func fileEdges(p *project.Project) (edges, []string) {
	g := p.Graph()
	order := g.Services()
	e := make(edges, len(order))
	for _, name := range order {
		for _, d := range g.Dependencies(name) {
			e[name] = append(e[name], edge{
				Dependency: Dependency{Service: d.Service, Condition: Condition(d.Condition), Restart: d.Restart, Required: d.Required},
				shares:     d.Shares,
			})
		}
	}
	return e, order
}

// recordedEdges are those that the containers were created with. Containers of
// different times may contradict one another: edges that would close a cycle are
// dropped.
func recordedEdges(containers []Container) (edges, []string) {
	e := edges{}
	for _, c := range containers {
		if _, ok := e[c.Service]; !ok {
			e[c.Service] = nil
		}
		for _, d := range c.DependsOn {
			if !slices.ContainsFunc(e[c.Service], func(x edge) bool { return x.Service == d.Service }) {
				e[c.Service] = append(e[c.Service], edge{Dependency: d})
			}
		}
	}
	return e.acyclic()
}

// acyclic returns the edges without those that close a cycle, and the services in
// dependency order.
func (e edges) acyclic() (edges, []string) {
	out := make(edges, len(e))
	var order []string
	open, done := map[string]bool{}, map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		open[name] = true
		for _, d := range e[name] {
			if _, known := e[d.Service]; !known || open[d.Service] {
				continue
			}
			out[name] = append(out[name], d)
			if !done[d.Service] {
				visit(d.Service)
			}
		}
		delete(open, name)
		done[name] = true
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if !done[name] {
			visit(name)
		}
	}
	return out, order
}

// dependents is the reverse: who depends on a service, in the order given.
func (e edges) dependents(order []string) map[string][]string {
	out := map[string][]string{}
	for _, name := range order {
		for _, d := range e[name] {
			out[d.Service] = append(out[d.Service], name)
		}
	}
	return out
}

// with returns the services and all that they depend on.
func (e edges) with(services []string) map[string]bool {
	in := map[string]bool{}
	queue := slices.Clone(services)
	for len(queue) > 0 {
		name := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if in[name] {
			continue
		}
		in[name] = true
		for _, d := range e[name] {
			queue = append(queue, d.Service)
		}
	}
	return in
}
