package container

import (
	"slices"
	"sort"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Hook is a command that is run in the container after its start (post_start) or before it is stopped (pre_stop).
type Hook struct {
	Command    []string `json:"command"`
	User       string   `json:"user,omitempty"` // "" and WorkingDir "": the container's own
	WorkingDir string   `json:"workingDir,omitempty"`
	Env        []string `json:"env,omitempty"` // beside the container's
	Privileged bool     `json:"privileged,omitempty"`
}

func hooks(all []types.ServiceHook) []Hook {
	var list []Hook
	for _, h := range all {
		hook := Hook{Command: h.Command, User: h.User, WorkingDir: h.WorkingDir, Privileged: h.Privileged}
		for k, v := range h.Environment {
			if v != nil {
				hook.Env = append(hook.Env, k+"="+*v)
			}
		}
		sort.Strings(hook.Env)
		list = append(list, hook)
	}
	return list
}

// HookProcess is the process of a hook.
func (c *Config) HookProcess(h Hook) *specs.Process {
	p := c.Process(h.Command, h.Privileged)
	p.Env = append(slices.Clip(p.Env), h.Env...)
	if h.User != "" {
		p.User.Username = h.User
	}
	if h.WorkingDir != "" {
		p.Cwd = h.WorkingDir
	}
	return p
}
