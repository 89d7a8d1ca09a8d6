package engine

import (
	"fmt"
	"sort"
	"strings"

	"tutti/scheduler/container"
)

// FindUnit returns the container of that name or id, or the only one whose id begins so.
func (e *Engine) FindUnit(name string) (*Unit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name = strings.TrimPrefix(name, "/")
	if u := e.units[name]; u != nil {
		return u, nil
	}
	var found *Unit
	for id, u := range e.units {
		if u.Name() == name {
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

// OpUnit finds the container of an operation, by its id or else by its name: the plan may have created it.
func (e *Engine) OpUnit(id, name string) (*Unit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u := e.units[id]; u != nil {
		return u, nil
	}
	for _, u := range e.units {
		if u.Name() == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("container %s does not exist", name)
}

// ProjectUnits are all containers of a project.
func (e *Engine) ProjectUnits(project string) []*Unit {
	return e.SelectUnits(func(c *container.Config) bool { return c.Project == project })
}

// ServiceUnits are the containers of a service, by number, without those of `run`.
func (e *Engine) ServiceUnits(project, service string) []*Unit {
	return e.SelectUnits(func(c *container.Config) bool {
		return c.Project == project && c.Service == service && !c.OneOff
	})
}

// SelectUnits are the containers that match, by service and number.
func (e *Engine) SelectUnits(match func(*container.Config) bool) []*Unit {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*Unit
	for _, u := range e.units {
		if match(&u.Config) {
			all = append(all, u)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i].Config, &all[j].Config
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

// PortOwner is our container that has a port of the host, or nil.
func (e *Engine) PortOwner(port uint16, proto string) *Unit {
	for _, u := range e.SelectUnits(func(c *container.Config) bool { return len(c.Ports) > 0 }) {
		_, bindings := e.NetDriver.Container(u.ID) // also of one that is to be restarted
		for _, b := range bindings {
			if b.HostPort == port && b.Proto == proto {
				return u
			}
		}
	}
	return nil
}
