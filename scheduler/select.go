package scheduler

import (
	"fmt"
	"sort"
	"strings"

	"tutti/scheduler/container"
)

// find returns the container of that name or id, or the only one whose id begins so.
func (e *Engine) find(name string) (*unit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name = strings.TrimPrefix(name, "/")
	if u := e.units[name]; u != nil {
		return u, nil
	}
	var found *unit
	for id, u := range e.units {
		if u.config.Name == name {
			return u, nil
		}
		if len(name) > 0 && strings.HasPrefix(id, name) {
			if found != nil {
				return nil, fmt.Errorf("%w: several container ids begin with %s", ErrConflict, name)
			}
			found = u
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w container: %s", ErrNoSuch, name)
	}
	return found, nil
}

// opUnit finds the container of an operation, by its id or else by its name: the plan may have created it.
func (e *Engine) opUnit(id, name string) (*unit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u := e.units[id]; u != nil {
		return u, nil
	}
	for _, u := range e.units {
		if u.config.Name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("container %s does not exist", name)
}

// projectUnits are all containers of a project.
func (e *Engine) projectUnits(project string) []*unit {
	return e.selectUnits(func(c *container.Config) bool { return c.Project == project })
}

// serviceUnits are the containers of a service, by number, without those of `run`.
func (e *Engine) serviceUnits(project, service string) []*unit {
	return e.selectUnits(func(c *container.Config) bool {
		return c.Project == project && c.Service == service && !c.OneOff
	})
}

// selectUnits are the containers that match, by service and number.
func (e *Engine) selectUnits(match func(*container.Config) bool) []*unit {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*unit
	for _, u := range e.units {
		if match(&u.config) {
			all = append(all, u)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i].config, &all[j].config
		if a.Service != b.Service {
			return a.Service < b.Service
		}
		if a.Number != b.Number {
			return a.Number < b.Number
		}
		return a.Name < b.Name
	})
	return all
}

// portOwner is our container that has a port of the host, or nil.
func (e *Engine) portOwner(port uint16, proto string) *unit {
	for _, u := range e.selectUnits(func(c *container.Config) bool { return len(c.Ports) > 0 }) {
		for _, b := range u.snapshot().Bindings {
			if b.HostPort == port && b.Proto == proto {
				return u
			}
		}
	}
	return nil
}
