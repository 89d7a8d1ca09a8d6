package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// v1 is a group of the same path in every v1 hierarchy.
// https://docs.kernel.org/admin-guide/cgroup-v1/
type v1 struct {
	host *Host
	path string
}

func (g *v1) dirIn(h hierarchy) string { return filepath.Join(h.mountpoint, g.path) }

// dir is the group's folder in the hierarchy of a controller, "" when the host has none.
func (g *v1) dir(controller string) string {
	for _, h := range g.host.v1 {
		if h.has(controller) {
			return g.dirIn(h)
		}
	}
	return ""
}

func (g *v1) Create(res *specs.LinuxResources) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, d := range made {
				_ = syscall.Rmdir(d)
			}
		}
	}()
	for _, h := range g.host.v1 {
		dir := g.dirIn(h)
		if err := mkdirBelow(h.mountpoint, dir); err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
		made = append(made, dir)
		if h.has("cpuset") {
			if err := inheritCpuset(h.mountpoint, dir); err != nil {
				return err
			}
		}
	}
	return g.Set(res)
}

// mkdirBelow makes dir, which must not exist, and the folders between it and root.
func mkdirBelow(root, dir string) error {
	err := os.Mkdir(dir, 0o755)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if len(parent) <= len(root) {
		return err
	}
	if err := mkdirBelow(root, parent); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Mkdir(dir, 0o755)
}

// inheritCpuset makes a new cpuset usable. Ancestors of ours pass theirs on by
// themselves (cgroup.clone_children), so that this costs a look at most.
//
// It copies cpus and mems from the nearest ancestor that has any: a
// new v1 cpuset is empty and takes no process.
func inheritCpuset(root, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if s, err := read(dir, file); err == nil && s != "" {
			continue
		}
		parent := filepath.Dir(dir)
		s, err := read(parent, file)
		if err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
		if s == "" && parent != root {
			if err := inheritCpuset(root, parent); err != nil {
				return err
			}
			if err := write(parent, "cgroup.clone_children", "1"); err != nil {
				return err
			}
			s, _ = read(parent, file)
		}
		if err := write(dir, file, s); err != nil {
			return err
		}
	}
	return nil
}

func (g *v1) Tasks() []string {
	var files []string
	for _, h := range g.host.v1 {
		files = append(files, filepath.Join(g.dirIn(h), "tasks"))
	}
	return files
}

func (g *v1) Dir() string { return "" }

func (g *v1) Add(pid int) error {
	for _, h := range g.host.v1 {
		if err := write(g.dirIn(h), "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// anyDir is the folder in the hierarchy that is asked for processes.
func (g *v1) anyDir() string {
	for _, c := range []string{"freezer", "pids", "devices"} {
		if d := g.dir(c); d != "" {
			return d
		}
	}
	return g.dirIn(g.host.v1[0])
}

func (g *v1) Pids() ([]int, error) { return pidsBelow(g.anyDir()) }

func (g *v1) Freeze(ctx context.Context) error {
	dir := g.dir("freezer")
	if dir == "" {
		return fmt.Errorf("freeze: %w", ErrUnsupported)
	}
	// FREEZING lasts until the last process is stopped; the kernel wants to be
	// asked again for some (freezer-subsystem.txt), there is no event.
	for {
		if err := write(dir, "freezer.state", "FROZEN"); err != nil {
			return err
		}
		frozen, err := g.Frozen()
		if err != nil || frozen {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("freeze: %w", ctx.Err()), g.Thaw())
		case <-time.After(time.Millisecond):
		}
	}
}

func (g *v1) Thaw() error {
	dir := g.dir("freezer")
	if dir == "" {
		return fmt.Errorf("thaw: %w", ErrUnsupported)
	}
	return write(dir, "freezer.state", "THAWED")
}

func (g *v1) Frozen() (bool, error) {
	dir := g.dir("freezer")
	if dir == "" {
		return false, nil
	}
	s, err := read(dir, "freezer.state")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return s == "FROZEN", err
}

func (g *v1) Kill() error {
	dir := g.dir("freezer")
	if dir == "" {
		return killAll(g.Pids)
	}
	// Frozen processes cannot fork away; they die when thawed.
	err := write(dir, "freezer.state", "FROZEN")
	if errors.Is(err, ErrUnsupported) {
		return nil // the group is gone
	}
	pids, perr := g.Pids()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if terr := g.Thaw(); err == nil {
		err = terr
	}
	if err != nil || perr != nil {
		return errors.Join(err, perr)
	}
	return killAll(g.Pids)
}

func (g *v1) OOMKills() (uint64, error) {
	dir := g.dir("memory")
	if dir == "" {
		return 0, nil
	}
	m, err := readFlat(dir, "memory.oom_control")
	if err != nil {
		return 0, fmt.Errorf("read OOM kills: %w", err)
	}
	return m["oom_kill"], nil
}

func (g *v1) Remove(ctx context.Context) error {
	var errs []error
	for _, h := range g.host.v1 {
		errs = append(errs, removeTree(ctx, g.dirIn(h)))
	}
	return errors.Join(errs...)
}

func (g *v1) Views(dest string, private bool) []View {
	views := []View{{Dest: dest, Type: "tmpfs", Source: "tmpfs", Data: "mode=755"}}
	for _, h := range g.host.v1 {
		at := filepath.Join(dest, h.name())
		if private {
			views = append(views, View{Dest: at, Type: "cgroup", Source: "cgroup", Data: strings.Join(h.controllers, ",")})
		} else {
			views = append(views, View{Dest: at, Source: g.dirIn(h)})
		}
		if len(h.controllers) > 1 {
			for _, c := range h.controllers {
				views = append(views, View{Dest: filepath.Join(dest, c), Link: h.name()})
			}
		}
	}
	return views
}
