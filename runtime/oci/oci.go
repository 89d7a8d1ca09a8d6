// Package oci runs bundles of the OCI runtime spec: a folder with config.json and a
// root file system becomes a container whose state lives below a root folder, with
// the operations of runtime.md ("Operations") and those that runc has beside them.
// Every operation is one process's; nothing stays resident.
package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// DefaultRoot is where state lives when nothing else is said.
const DefaultRoot = "/run/tutti-oci"

// Errors in words that callers of OCI runtimes look for.
var (
	ErrNotExist   = errors.New("container does not exist")
	ErrNotRunning = errors.New("container not running")
)

// Runtime are the containers below one root folder.
type Runtime struct {
	rt   *runtime.Runtime
	root string
	warn func(error)
}

// Open prepares the root folder. warn is told what is no error of an operation.
func Open(root string, warn func(error)) (*Runtime, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("root folder: %w", err)
	}
	rt, err := runtime.New(runtime.Config{
		Dir: root, CgroupParent: cgroupParent(root), Reaper: runtime.NewHandoverReaper(), SealLater: true, StrictCapabilities: true, Warn: warn,
	})
	if err != nil {
		return nil, err
	}
	return &Runtime{rt: rt, root: root, warn: warn}, nil
}

// cgroupParent is what relative cgroup paths are relative to. Containers of the same
// name below different roots are different ones.
func cgroupParent(root string) string {
	if root == DefaultRoot {
		return "/tutti-oci"
	}
	sum := sha256.Sum256([]byte(root))
	return "/tutti-oci-" + hex.EncodeToString(sum[:4])
}

// Close releases the runtime's descriptors.
func (r *Runtime) Close() error { return r.rt.Close() }

// State is the state of a container: that of the spec (runtime.md, "State") and
// what runc shows besides.
type State struct {
	Version     string               `json:"ociVersion"`
	ID          string               `json:"id"`
	Pid         int                  `json:"pid"`
	Status      specs.ContainerState `json:"status"`
	Bundle      string               `json:"bundle"`
	Rootfs      string               `json:"rootfs"`
	Created     time.Time            `json:"created"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	Owner       string               `json:"owner"`
	uid         uint32
}

// UID is the user who created the container.
func (s *State) UID() uint32 { return s.uid }

// State describes a container.
func (r *Runtime) State(id string) (*State, error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	return r.describe(c)
}

func (r *Runtime) describe(c *runtime.Container) (*State, error) {
	var st syscall.Stat_t
	dir := filepath.Join(r.root, c.ID())
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	s := c.State()
	return &State{
		Version: specs.Version, ID: s.ID, Pid: s.Pid, Status: specs.ContainerState(s.Status), Bundle: s.Bundle,
		Rootfs: s.Root, Created: s.Created.UTC(), Annotations: s.Annotations, uid: st.Uid,
	}, nil
}

// List describes all containers, by name. One that goes meanwhile is left out.
func (r *Runtime) List() ([]*State, error) {
	ids, err := r.rt.List()
	if err != nil {
		return nil, err
	}
	list := []*State{}
	for _, id := range ids {
		s, err := r.State(id)
		if errors.Is(err, ErrNotExist) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *State) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

func (r *Runtime) load(id string) (*runtime.Container, error) {
	c, err := r.rt.Load(id)
	if errors.Is(err, runtime.ErrNoContainer) {
		return nil, fmt.Errorf("%w: %q", ErrNotExist, id)
	}
	return c, err
}

// Start executes the program of a created container.
func (r *Runtime) Start(ctx context.Context, id string) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	err = c.Start(ctx)
	if errors.Is(err, runtime.ErrNotCreated) {
		switch c.State().Status {
		case runtime.StatusStopped:
			return fmt.Errorf("cannot start container %s that has stopped", id)
		case runtime.StatusRunning, runtime.StatusPaused:
			return fmt.Errorf("cannot start container %s that is already running", id)
		default: // the runtime's own error says more
		}
	}
	return err
}

// Kill sends a signal to the first process, or with all to every process.
func (r *Runtime) Kill(ctx context.Context, id string, sig syscall.Signal, all bool) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	if all {
		return c.SignalAll(ctx, sig)
	}
	paused := c.State().Status == runtime.StatusPaused
	if err := c.Kill(sig); err != nil {
		return notRunning(err)
	}
	if paused && sig == syscall.SIGKILL { // on cgroup v1 it reaches nobody who is frozen
		return c.Resume(ctx)
	}
	return nil
}

// notRunning says it in the words that callers look for.
func notRunning(err error) error {
	if errors.Is(err, runtime.ErrNotRunning) {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	return err
}

// Delete removes a container that has stopped, or one that was never started; with
// force a running one too, and one that does not exist is no error.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	c, err := r.load(id)
	if errors.Is(err, ErrNotExist) && force {
		return nil
	}
	if err != nil {
		return err
	}
	if s := c.State().Status; !force && (s == runtime.StatusRunning || s == runtime.StatusPaused) {
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", id, s)
	}
	if force {
		if err := c.KillAll(ctx); err != nil {
			return err
		}
	}
	if err := c.Delete(ctx); err != nil {
		return err
	}
	return r.rt.RemoveParent()
}

// Pause freezes a container.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	return notRunning(c.Pause(ctx))
}

// Resume undoes Pause.
func (r *Runtime) Resume(ctx context.Context, id string) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	if s := c.State().Status; s != runtime.StatusPaused {
		return fmt.Errorf("container not paused: %s is %s", id, s)
	}
	return c.Resume(ctx)
}

// Update changes limits; what is not said stays.
func (r *Runtime) Update(id string, res *specs.LinuxResources) error {
	r.warnOfKernelMemory(res)
	c, err := r.load(id)
	if err != nil {
		return err
	}
	if c.State().Status == runtime.StatusStopped {
		return fmt.Errorf("%w: %s", ErrNotRunning, id)
	}
	return c.Update(res)
}

// Pids lists a container's processes.
func (r *Runtime) Pids(id string) ([]int, error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	pids, err := c.Pids()
	slices.Sort(pids)
	return pids, err
}

// Container gives access to counters of a container.
func (r *Runtime) Container(id string) (*runtime.Container, error) { return r.load(id) }

// writePidFile writes a number so that nobody ever reads half of it.
func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	err := os.WriteFile(tmp, fmt.Append(nil, pid), 0o644)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}
