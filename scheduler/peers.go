package scheduler

import (
	"fmt"
	"strings"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// peer finds the container that "service:NAME" or "container:NAME" means for c.
func (e *Engine) peer(c *container.Config, mode string) (*unit, error) {
	kind, name, _ := strings.Cut(mode, ":")
	e.mu.Lock()
	defer e.mu.Unlock()
	var peer *unit
	for _, u := range e.units {
		match := u.config.Name == name || u.id == name
		if kind == "service" {
			match = u.config.Project == c.Project && u.config.Service == name && !u.config.OneOff
		}
		if match && (peer == nil || u.config.Number < peer.config.Number) {
			peer = u
		}
	}
	if peer == nil {
		return nil, fmt.Errorf("there is no container of %s %s", kind, name)
	}
	return peer, nil
}

// peerProcess is the running process of the peer.
func (e *Engine) peerProcess(c *container.Config, mode string) (*runtime.Container, error) {
	u, err := e.peer(c, mode)
	if err != nil {
		return nil, err
	}
	p := u.running()
	if p == nil {
		return nil, fmt.Errorf("the container %s does not run", u.config.Name)
	}
	return p, nil
}
