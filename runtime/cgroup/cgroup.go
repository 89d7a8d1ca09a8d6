// Package cgroup creates, limits, freezes, measures, kills and removes the control
// groups of containers, on cgroup v1 (also in a hybrid layout, where the v1
// hierarchies have the controllers) and on v2.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ErrUnsupported means that the host lacks the controller or file that a limit needs.
var ErrUnsupported = errors.New("not supported by this host's cgroups")

// Manager is one container's control group, in every hierarchy that the host has.
type Manager interface {
	// Create makes the group and sets its limits. A group that exists is an error
	// for which errors.Is(err, fs.ErrExist) holds. After an error nothing is left.
	Create(res *specs.LinuxResources) error
	// Adopt is Create for a group that may exist and must hold no process.
	Adopt(res *specs.LinuxResources) error
	// Set changes limits; nil fields stay as they are.
	Set(res *specs.LinuxResources) error
	// Tasks are files that a process joins through by writing "0", from the thread
	// that will call execve. Empty when Add or the folder is the way in.
	Tasks() []string
	// Dir is the group's folder for CLONE_INTO_CGROUP; "" where Tasks is the way in.
	Dir() string
	// Add moves a process into the group.
	Add(pid int) error
	// Pids lists the processes of the group and of groups below it.
	Pids() ([]int, error)
	// Freeze returns when every process is frozen; Thaw undoes it.
	Freeze(ctx context.Context) error
	Thaw() error
	Frozen() (bool, error)
	// Kill sends SIGKILL to every process, frozen ones too.
	Kill() error
	// OOMKills counts the processes that the kernel killed for want of memory.
	OOMKills() (uint64, error)
	Stats() (Stats, error)
	// Remove removes the group and groups below it, waiting until ctx ends for
	// processes that are still exiting. A group that is gone is no error.
	Remove(ctx context.Context) error
	// Views are the mounts by which a container sees its group at dest.
	Views(dest string, privateNamespace bool) []View
}

// View is one mount (or, with Link set, a symbolic link) of a container's cgroup view.
type View struct {
	Dest   string
	Type   string // "tmpfs", "cgroup", "cgroup2", "" for a bind of Source
	Source string
	Data   string
	Link   string
}

// Host is the cgroup layout of this machine.
type Host struct {
	v1      []hierarchy
	unified string // mount point of the v2 hierarchy when it has the controllers
}

// hierarchy is one mounted v1 hierarchy.
type hierarchy struct {
	controllers []string // "cpu", "cpuacct"; for a named one "name=systemd"
	mountpoint  string
}

// name is the last part of the mount point: "cpu,cpuacct", "systemd".
func (h hierarchy) name() string { return filepath.Base(h.mountpoint) }

func (h hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// Detect reads the layout from /proc/self/mountinfo.
func Detect() (*Host, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	h := &Host{}
	unified := ""
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		// "36 35 98:0 /root /mount opts opt:1 - type source superopts", proc_pid_mountinfo(5)
		before, after, _ := strings.Cut(scanner.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 6 || len(right) < 3 {
			continue
		}
		switch right[0] {
		case "cgroup":
			h.addV1(left[4], strings.Split(right[2], ","))
		case "cgroup2":
			if unified == "" {
				unified = left[4]
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	if len(h.v1) == 0 {
		h.unified = unified
	}
	if len(h.v1) == 0 && h.unified == "" {
		return nil, errors.New("detect cgroups: no cgroup file system is mounted")
	}
	return h, nil
}

func (h *Host) addV1(mountpoint string, options []string) {
	var controllers []string
	for _, o := range options {
		if !slices.Contains([]string{"rw", "ro", "xattr", "clone_children", "noprefix"}, o) &&
			!strings.HasPrefix(o, "release_agent=") {
			controllers = append(controllers, o)
		}
	}
	for _, other := range h.v1 {
		if slices.Equal(other.controllers, controllers) {
			return // the same hierarchy mounted twice
		}
	}
	if len(controllers) > 0 {
		h.v1 = append(h.v1, hierarchy{controllers: controllers, mountpoint: mountpoint})
	}
}

// Version is 1 or 2.
func (h *Host) Version() int {
	if h.unified != "" {
		return 2
	}
	return 1
}

// Manager returns the group at path, "/tutti-ab12/<id>", which need not exist.
func (h *Host) Manager(path string) Manager {
	path = filepath.Clean("/" + path)
	if h.unified != "" {
		return &v2{root: h.unified, path: path}
	}
	return &v1{host: h, path: path}
}

// roots returns the mount points of all hierarchies.
func (h *Host) roots() []string {
	if h.unified != "" {
		return []string{h.unified}
	}
	var r []string
	for _, v := range h.v1 {
		r = append(r, v.mountpoint)
	}
	return r
}

// Children lists the names of the groups directly under parent in any hierarchy.
func (h *Host) Children(parent string) ([]string, error) {
	var names []string
	for _, root := range h.roots() {
		entries, err := os.ReadDir(filepath.Join(root, parent))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}

// RemoveParent removes parent and groups below it in every hierarchy, as far as no process is in them.
func (h *Host) RemoveParent(parent string) error {
	for _, root := range h.roots() {
		if err := removeEmpty(filepath.Join(root, parent)); err != nil {
			return fmt.Errorf("remove cgroup parent: %w", err)
		}
	}
	return nil
}
