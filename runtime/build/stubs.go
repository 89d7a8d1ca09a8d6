package build

import (
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
)

// stubs are mount points that a step's root did not have: the runtime makes them,
// and they must not become part of the layer.
type stubs struct {
	upper string   // where the runtime's files land
	paths []string // relative to the root, children before their parents
}

// findStubs looks, before the step, which of the names are missing in the root that
// the mount makes. With parents their missing folders count too.
func findStubs(root mount.Mount, names []string, parents bool) stubs {
	all, upper := layersOf(root)
	s := stubs{upper: upper}
	for _, name := range names {
		for name = path.Join("/", name); name != "/"; name = path.Dir(name) {
			missing, ok := all.missing(name)
			if !ok {
				break
			}
			if !slices.Contains(s.paths, missing) {
				s.paths = append(s.paths, missing)
			}
			if !parents {
				break
			}
		}
	}
	return s
}

// remove deletes the stubs that are still empty. The step's program may have put
// anything in their place, links too: nothing outside the upper folder is touched.
func (s stubs) remove() error {
	if len(s.paths) == 0 || s.upper == "" {
		return nil
	}
	upper, err := os.OpenRoot(s.upper)
	if err != nil {
		return fmt.Errorf("open layer of build step: %w", err)
	}
	defer upper.Close()
	for _, name := range s.paths {
		info, err := upper.Lstat(name)
		if err != nil || !info.IsDir() && (!info.Mode().IsRegular() || info.Size() != 0) {
			continue
		}
		parent, err := upper.Stat(path.Dir(name))
		if err != nil {
			continue
		}
		if upper.Remove(name) != nil {
			continue // a folder that is not empty
		}
		// The folder's time shall not tell when the build ran.
		if err := upper.Chtimes(path.Dir(name), parent.ModTime(), parent.ModTime()); err != nil {
			return fmt.Errorf("restore time of %s: %w", path.Dir(name), err)
		}
	}
	return nil
}
