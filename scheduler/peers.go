package scheduler

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

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

// share adds to the options of a run what the container has in common with others: the pid and ipc namespaces, with the
// latter /dev/shm, and the name of the one whose network it is on.
func (e *Engine) share(c *container.Config, o *container.SpecOptions) error {
	if strings.Contains(c.NetworkMode, ":") {
		peer, err := e.peer(c, c.NetworkMode)
		if err != nil {
			return fmt.Errorf("network_mode: %w", err)
		}
		o.Hostname, o.Domainname = peer.names()
	}
	if strings.Contains(c.Pid, ":") {
		p, err := e.peerProcess(c, c.Pid)
		if err != nil {
			return fmt.Errorf("pid: %w", err)
		}
		o.Join = append(o.Join, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: fmt.Sprintf("/proc/%d/ns/pid", p.Pid())})
	}
	if strings.Contains(c.IPC, ":") {
		u, err := e.peer(c, c.IPC)
		if err == nil {
			err = checkShareable(u.config.Name, u.config.IPC)
		}
		if err != nil {
			return fmt.Errorf("ipc: %w", err)
		}
		p, err := e.peerProcess(c, c.IPC)
		if err != nil {
			return fmt.Errorf("ipc: %w", err)
		}
		o.Join = append(o.Join, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: fmt.Sprintf("/proc/%d/ns/ipc", p.Pid())})
		o.Shm = fmt.Sprintf("/proc/%d/root/dev/shm", p.Pid())
	}
	return nil
}

// checkShareable refuses to join an ipc namespace that its container keeps for itself, as docker does. mode is that
// container's own.
func checkShareable(name, mode string) error {
	switch mode {
	case "", "none", "private":
		return fmt.Errorf("%s: non-shareable IPC: give that one `ipc: shareable`", name)
	}
	return nil
}

// names are what the container calls itself: as the one does whose network it shares, if it does.
func (u *unit) names() (host, domain string) {
	if s := u.snapshot(); s.Hostname != "" {
		return s.Hostname, s.Domainname
	}
	return u.config.Hostname, u.config.Domainname
}

// newProcess is a further process in the container, see container.Config.Process.
func (u *unit) newProcess(args []string, privileged bool) *specs.Process {
	c := u.config
	c.Hostname, c.Domainname = u.names()
	return c.Process(args, privileged)
}
