package engine

import (
	"sync"

	"tutti/project"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
)

// edgeCache has the dependencies of the services of each project's applied model. Containers remember those that they were
// created with, too, but to change depends_on needs no new container.
type edgeCache struct {
	mu sync.Mutex
	of map[string]map[string][]plan.Dependency // project → service → dependencies
}

// dependencies are the edges that hold for a container: the applied model's, or without one those that it was created with.
func (e *Engine) dependencies(c *container.Config) []plan.Dependency {
	if c.Project == "" || c.OneOff {
		return c.DependsOn
	}
	e.edges.mu.Lock()
	defer e.edges.mu.Unlock()
	services, known := e.edges.of[c.Project]
	if !known {
		services = e.modelEdges(c.Project)
		if e.edges.of == nil {
			e.edges.of = map[string]map[string][]plan.Dependency{}
		}
		e.edges.of[c.Project] = services
	}
	if deps, ok := services[c.Service]; ok {
		return deps
	}
	return c.DependsOn
}

// modelEdges reads the applied model of a project; nothing without one.
func (e *Engine) modelEdges(name string) map[string][]plan.Dependency {
	p, err := e.AppliedModel(name)
	if err != nil {
		e.Log.Error("read the dependencies", "project", name, "error", err)
	}
	if p == nil {
		return nil
	}
	g := p.Graph()
	all := map[string][]plan.Dependency{}
	for _, service := range g.Services() {
		all[service] = GraphEdges(g, service)
	}
	return all
}

// GraphEdges are the dependencies of a service in the planner's terms.
func GraphEdges(g *project.Graph, service string) []plan.Dependency {
	var all []plan.Dependency
	for _, d := range g.Dependencies(service) {
		all = append(all, plan.Dependency{Service: d.Service, Condition: plan.Condition(d.Condition), Restart: d.Restart, Required: d.Required})
	}
	return all
}

// forget makes the next question read the model anew.
func (c *edgeCache) forget(project string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, project)
}
