package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/hooks"
)

// The hooks of a spec run where config.md ("POSIX-platform Hooks") says: those named
// prestart, createRuntime, poststart and poststop in this process, the two others
// inside init.

func checkHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for name, list := range map[string][]specs.Hook{
		"prestart": h.Prestart, "createRuntime": h.CreateRuntime, "createContainer": h.CreateContainer, //nolint:staticcheck // deprecated, and still used
		"startContainer": h.StartContainer, "poststart": h.Poststart, "poststop": h.Poststop,
	} {
		for _, hook := range list {
			if !path.IsAbs(hook.Path) {
				return fmt.Errorf("spec: %s hook %q is not an absolute path", name, hook.Path)
			}
			if hook.Timeout != nil && (*hook.Timeout <= 0 || *hook.Timeout > 1<<30) {
				return fmt.Errorf("spec: %s hook %s: the timeout must be greater than zero", name, hook.Path)
			}
		}
	}
	return nil
}

// lateHooks are those that run after the creation, for the state file.
func lateHooks(h *specs.Hooks) *specs.Hooks {
	if h == nil || len(h.Poststart)+len(h.Poststop) == 0 {
		return nil
	}
	return &specs.Hooks{Poststart: h.Poststart, Poststop: h.Poststop}
}

func hookOf(h specs.Hook) hooks.Hook {
	out := hooks.Hook{Path: h.Path, Args: h.Args, Env: h.Env}
	if h.Timeout != nil {
		out.Timeout = uint32(*h.Timeout)
	}
	return out
}

// hooks gives init its hooks.
func (p *plan) hooks(id string, spec *specs.Spec, o CreateOptions) error {
	h := spec.Hooks
	if h == nil {
		return nil
	}
	p.config.AskHooks = len(h.Prestart)+len(h.CreateRuntime) > 0 //nolint:staticcheck // deprecated, and still used
	for _, hook := range h.CreateContainer {
		p.config.CreateContainer = append(p.config.CreateContainer, hookOf(hook))
	}
	for _, hook := range h.StartContainer {
		p.config.StartContainer = append(p.config.StartContainer, hookOf(hook))
	}
	if len(h.CreateContainer)+len(h.StartContainer) == 0 {
		return nil
	}
	b, err := json.Marshal(struct {
		Version     string            `json:"ociVersion"`
		ID          string            `json:"id"`
		Bundle      string            `json:"bundle"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}{specs.Version, id, o.Bundle, spec.Annotations})
	if err != nil {
		return fmt.Errorf("describe the container for hooks: %w", err)
	}
	p.config.HookState = b[1:] // init puts its pid first
	return nil
}

// runHooks runs hooks in this process's namespaces.
func (c *Container) runHooks(kind string, list []specs.Hook, status specs.ContainerState, pid int) error {
	if len(list) == 0 {
		return nil
	}
	state, err := json.Marshal(specs.State{
		Version: specs.Version, ID: c.id, Status: status, Pid: pid, Bundle: c.state.Bundle, Annotations: c.state.Annotations,
	})
	if err != nil {
		return fmt.Errorf("describe the container for hooks: %w", err)
	}
	for _, h := range list {
		hook := hookOf(h)
		if err := hook.Run(state, "/"); err != nil {
			return fmt.Errorf("run %s hook %s: %w", kind, h.Path, err)
		}
	}
	return nil
}

// runCreateHooks runs what belongs between the making of the namespaces and the
// entering of the root.
func (c *Container) runCreateHooks(h *specs.Hooks) error {
	err := c.runHooks("prestart", h.Prestart, specs.StateCreated, c.state.Pid) //nolint:staticcheck // deprecated, and still used
	if err != nil {
		return err
	}
	return c.runHooks("createRuntime", h.CreateRuntime, specs.StateCreated, c.state.Pid)
}

// runPoststart runs the poststart hooks. One that fails is told, and changes nothing.
func (c *Container) runPoststart() {
	if c.state.Hooks == nil {
		return
	}
	if err := c.runHooks("poststart", c.state.Hooks.Poststart, specs.StateRunning, c.state.Pid); err != nil {
		c.rt.warn(fmt.Errorf("container %s: %w", c.id, err))
	}
}

// runPoststop runs the poststop hooks, all of them: those that fail are told.
func (c *Container) runPoststop() {
	if c.state.Hooks == nil {
		return
	}
	if _, err := os.Stat(c.rt.dir(c.id)); err != nil {
		return // deleted before
	}
	for _, h := range c.state.Hooks.Poststop {
		if err := c.runHooks("poststop", []specs.Hook{h}, specs.StateStopped, 0); err != nil {
			c.rt.warn(fmt.Errorf("container %s: %w", c.id, err))
		}
	}
}

func (r *Runtime) warn(err error) {
	if r.cfg.Warn != nil {
		r.cfg.Warn(err)
	}
}
