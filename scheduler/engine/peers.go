package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// Peer finds the container that "service:NAME" or "container:NAME" means for c. One that has been renamed since is still
// meant by the name that it had at its creation, unless another has that now.
func (e *Engine) Peer(c *container.Config, mode string) (*Unit, error) {
	kind, name, _ := strings.Cut(mode, ":")
	e.mu.Lock()
	defer e.mu.Unlock()
	var peer, renamed *Unit
	for _, u := range e.units {
		match := u.Name() == name || u.ID == name
		if kind == "service" {
			match = u.Config.Project == c.Project && u.Config.Service == name && !u.Config.OneOff
		}
		if kind != "service" && u.Config.Name == name {
			renamed = u
		}
		if match && (peer == nil || u.Config.Number < peer.Config.Number) {
			peer = u
		}
	}
	if peer == nil {
		peer = renamed
	}
	if peer == nil {
		return nil, fmt.Errorf("there is no container of %s %s", kind, name)
	}
	return peer, nil
}

// peerProcess is the running process of the peer, also of one that is just being started.
func (e *Engine) peerProcess(ctx context.Context, c *container.Config, mode string) (*runtime.Container, error) {
	u, err := e.Peer(c, mode)
	if err != nil {
		return nil, err
	}
	p, err := u.Process(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for the start of container %s: %w", u.Name(), err)
	}
	if p == nil {
		return nil, fmt.Errorf("the container %s does not run", u.Name())
	}
	return p, nil
}

// share adds to the options of a run what the container has in common with others: the pid and ipc namespaces, with the
// latter /dev/shm, and the name of the one whose network it is on.
func (e *Engine) share(ctx context.Context, c *container.Config, o *container.SpecOptions) error {
	if strings.Contains(c.NetworkMode, ":") {
		peer, err := e.Peer(c, c.NetworkMode)
		if err != nil {
			return fmt.Errorf("network_mode: %w", err)
		}
		o.Hostname, o.Domainname = peer.names()
	}
	if strings.Contains(c.Pid, ":") {
		p, err := e.peerProcess(ctx, c, c.Pid)
		if err != nil {
			return fmt.Errorf("pid: %w", err)
		}
		o.Join = append(o.Join, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: fmt.Sprintf("/proc/%d/ns/pid", p.Pid())})
	}
	if strings.Contains(c.IPC, ":") {
		u, err := e.Peer(c, c.IPC)
		if err == nil {
			err = CheckShareable(u.Name(), u.Config.IPC)
		}
		if err != nil {
			return fmt.Errorf("ipc: %w", err)
		}
		p, err := e.peerProcess(ctx, c, c.IPC)
		if err != nil {
			return fmt.Errorf("ipc: %w", err)
		}
		o.Join = append(o.Join, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: fmt.Sprintf("/proc/%d/ns/ipc", p.Pid())})
		o.Shm = fmt.Sprintf("/proc/%d/root/dev/shm", p.Pid())
	}
	return nil
}

// CheckShareable refuses to join an ipc namespace that its container keeps for itself, as docker does. mode is that
// container's own.
func CheckShareable(name, mode string) error {
	switch mode {
	case "", "none", "private":
		return fmt.Errorf("%s: non-shareable IPC: give that one `ipc: shareable`", name)
	}
	return nil
}

// names are what the container calls itself: as the one does whose network it shares, if it does.
func (u *Unit) names() (host, domain string) {
	if s := u.Snapshot(); s.Hostname != "" {
		return s.Hostname, s.Domainname
	}
	return u.Config.Hostname, u.Config.Domainname
}

// newProcess is a further process in the container, see container.Config.Process.
func (u *Unit) newProcess(args []string, privileged bool) *specs.Process {
	c := u.Config
	c.Hostname, c.Domainname = u.names()
	return c.Process(args, privileged)
}
