package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tutti/scheduler/checkup"
	"tutti/scheduler/container"
)

// errBusy: what is left over cannot be told from what is being made.
var errBusy = errors.New("other commands are at work: check again when they are done")

// quiet tells whether the only request that is served is the one that asks.
func (e *Engine) quiet() error {
	if e.serving.Load() > 1 {
		return errBusy
	}
	return nil
}

// whenQuiet is a repair that waits for nobody.
func (e *Engine) whenQuiet(repair func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := e.quiet(); err != nil {
			return err
		}
		return repair(ctx)
	}
}

// lookAtFiles looks at the small state files, and for what runs that are over have left.
func (e *Engine) lookAtFiles(context.Context) ([]checkup.Fault, int, error) {
	var faults []checkup.Fault
	looked := 0
	for _, dir := range []string{e.Paths.Projects(), e.Paths.Histories(), filepath.Join(e.Paths.Root, "networks")} {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return nil, looked, err
		}
		for _, file := range files {
			looked++
			data, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) || err == nil && json.Valid(data) {
				continue
			}
			faults = append(faults, checkup.Fault{
				Object: file, Problem: "state file is damaged", Remedy: "remove it", Fleeting: true, Hint: "`tutti up` of its project writes it again",
				Repair: func(context.Context) error { return os.Remove(file) },
			})
		}
	}
	running := map[string]bool{}
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		running[u.ID] = u.Snapshot().Alive() || u.Running() != nil
	}
	for _, dir := range []string{e.Paths.Files(), e.Paths.Rootfs()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, looked, err
		}
		for _, d := range entries {
			path := filepath.Join(dir, d.Name())
			if looked++; !running[d.Name()] {
				faults = append(faults, checkup.Fault{
					Object: path, Problem: "left by a run that is over", Remedy: "remove it", Fleeting: true,
					Repair: e.whenQuiet(func(context.Context) error { return os.RemoveAll(path) }),
				})
			}
		}
	}
	entries, err := os.ReadDir(e.Paths.Trash())
	for _, d := range entries {
		path := filepath.Join(e.Paths.Trash(), d.Name())
		looked++
		faults = append(faults, checkup.Fault{
			Object: path, Problem: "what is left of a removed container", Remedy: "remove it", Fleeting: true,
			Repair: func(context.Context) error { return os.RemoveAll(path) },
		})
	}
	return faults, looked, err
}

// lookAtHost looks for processes, groups and mounts of this engine's that belong to nothing.
func (e *Engine) lookAtHost(context.Context) ([]checkup.Fault, int, error) {
	known, err := e.runtime.List() // build steps, too
	if err != nil {
		return nil, 0, err
	}
	orphans, err := e.runtime.Orphans(known)
	if err != nil {
		return nil, len(known), fmt.Errorf("list control groups: %w", err)
	}
	var faults []checkup.Fault
	for _, name := range orphans {
		faults = append(faults, checkup.Fault{
			Object: name, Problem: "control group that belongs to no container", Remedy: "end the processes in it and remove it", Fleeting: true,
			Repair: e.whenQuiet(func(ctx context.Context) error {
				known, err := e.runtime.List()
				if err != nil {
					return err
				}
				return e.runtime.RemoveOrphans(ctx, known)
			}),
		})
	}
	for _, id := range known {
		e.mu.Lock()
		u := e.units[id]
		e.mu.Unlock()
		if u != nil && u.Running() == nil && !u.Snapshot().Alive() {
			faults = append(faults, checkup.Fault{
				Object: u.Name(), Problem: "a process of a container that does not run", Remedy: "end it", Fleeting: true,
				Repair: e.whenQuiet(func(ctx context.Context) error {
					return e.runtime.RemoveOrphans(ctx, slices.DeleteFunc(slices.Clone(known), func(other string) bool { return other == id }))
				}),
			})
		}
	}
	mounts, err := e.leftMounts()
	return append(faults, mounts...), len(known) + len(mounts), err
}

// leftMounts finds mounts in the host's table below the engine's folders. Only builds and unpacking make some, and only
// for as long as they last.
func (e *Engine) leftMounts() ([]checkup.Fault, error) {
	if e.ImageStore.Busy() {
		return nil, nil
	}
	below := func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, e.Paths.Images()+"/") && !strings.HasPrefix(m.Mountpoint, e.Paths.Builder()+"/") &&
			!strings.HasPrefix(m.Mountpoint, e.Paths.Rootfs()+"/"), false
	}
	mounts, err := mountinfo.GetMounts(below)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var faults []checkup.Fault
	for _, m := range slices.Backward(mounts) {
		faults = append(faults, checkup.Fault{
			Object: m.Mountpoint, Problem: "mount that nobody needs", Remedy: "unmount it", Fleeting: true,
			Repair: e.whenQuiet(func(context.Context) error {
				if e.ImageStore.Busy() {
					return errBusy
				}
				return os.NewSyscallError("umount", unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
			}),
		})
	}
	return faults, nil
}
