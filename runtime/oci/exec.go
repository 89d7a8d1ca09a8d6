package oci

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// ExecOptions are what runc's exec takes as flags.
type ExecOptions struct {
	ConsoleSocket string // as in CreateOptions
	PidFile       string
	PreserveFDs   int
	Stdio         runtime.Stdio
	Attached      bool
}

// Process is the process of the bundle that a container was made from: what a
// further process is like unless its caller says otherwise.
func (r *Runtime) Process(id string) (*specs.Process, error) {
	s, err := r.State(id)
	if err != nil {
		return nil, err
	}
	spec, _, err := loadBundle(s.Bundle)
	if err != nil {
		return nil, err
	}
	if spec.Process == nil {
		return nil, errors.New("config.json: it has no process")
	}
	return spec.Process, nil
}

// ReadProcess reads a process from a file.
func ReadProcess(file string) (*specs.Process, error) {
	p := &specs.Process{}
	if err := readJSON(file, p); err != nil {
		return nil, fmt.Errorf("read process: %w", err)
	}
	return p, nil
}

// Exec runs a further process in a running container and returns when its program
// was executed.
func (r *Runtime) Exec(ctx context.Context, id string, p *specs.Process, o ExecOptions) (*runtime.Process, error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	if err := checkTerminal(p.Terminal, !o.Attached, o.ConsoleSocket); err != nil {
		return nil, err
	}
	var listening []string
	if o.Stdio.Preserve, listening, err = preserved(o.PreserveFDs); err != nil {
		return nil, err
	}
	p.Env = append(p.Env, listening...)
	proc, err := c.Exec(ctx, rand.Text(), p, o.Stdio)
	if err != nil {
		return nil, notRunning(err)
	}
	if o.ConsoleSocket != "" {
		err = sendConsole(o.ConsoleSocket, proc.Console)
		_ = proc.Console.Close()
		proc.Console = nil
	}
	if err == nil {
		err = writePidFile(o.PidFile, proc.Pid())
	}
	if err != nil {
		_ = proc.Kill(syscall.SIGKILL)
	}
	return proc, err
}
