package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ErrInUse means that a group holds processes of somebody else.
var ErrInUse = errors.New("the cgroup has processes")

// Adopt is Create for a group that exists already and holds no process: in some of
// the hierarchies or in all.
func (g *v1) Adopt(res *specs.LinuxResources) error {
	for _, h := range g.host.v1 {
		dir := g.dirIn(h)
		if err := mkdirBelow(h.mountpoint, dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create cgroup: %w", err)
		}
		if err := empty(dir); err != nil {
			return err
		}
		if h.has("cpuset") {
			if err := inheritCpuset(h.mountpoint, dir); err != nil {
				return err
			}
		}
	}
	return g.Set(res)
}

// Adopt is Create for a group that exists already and holds no process.
func (g *v2) Adopt(res *specs.LinuxResources) error {
	if err := empty(g.Dir()); err != nil {
		return err
	}
	if err := g.delegate(nil); err != nil {
		return err
	}
	return g.Set(res)
}

// empty makes sure that a group has no process of its own; groups below it may.
func empty(dir string) error {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return fmt.Errorf("create cgroup: %w", err)
	}
	if len(b) > 0 {
		return fmt.Errorf("create cgroup %s: %w", dir, ErrInUse)
	}
	return nil
}
