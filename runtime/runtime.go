package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/cgroup"
)

// Config says where a Runtime keeps its state.
type Config struct {
	Dir          string // run state, one folder per container: <run>/containers
	CgroupParent string // absolute path inside every cgroup hierarchy, "/tutti-ab12"
	Reaper       Reaper
	// SealLater prepares init with the first container, for a process that may make none.
	SealLater bool
	// StrictCapabilities refuses to run a program with fewer capabilities than it is to
	// have, because this process lacks them. Otherwise it goes without.
	StrictCapabilities bool
	// Warn is told of what went wrong without being an error of the operation, such
	// as a poststop hook that failed; nil: nobody is.
	Warn func(error)
}

// Runtime makes containers. All methods may be called concurrently.
type Runtime struct {
	cfg      Config
	cgroups  *cgroup.Host
	init     *os.File // sealed memfd
	initPath string
	sealed   sync.Once
	ownPidNS *os.File
	ownCaps  uint64
	filters  filterCache
}

// Stdio are the child's ends of its standard streams; nil means /dev/null. With
// Process.Terminal they are ignored, the terminal takes their place.
type Stdio struct {
	Stdin, Stdout, Stderr *os.File
	// Preserve are files that the program has as descriptors 3, 4 and so on, with a
	// terminal too.
	Preserve []*os.File
}

// CreateOptions are what an OCI spec cannot say.
type CreateOptions struct {
	// Rootfs are mounts that init makes on Spec.Root.Path inside its own mount
	// namespace, such as one overlay with lowerdir, upperdir and workdir options.
	// Empty: Root.Path is a directory to use as it is.
	Rootfs []specs.Mount
	Stdio  Stdio
	// Init keeps the runtime's own init as pid 1: it forwards signals and reaps.
	Init bool
	// Groups are additional groups by name or number, looked up in the rootfs.
	Groups []string
	// Detached lets the created container outlive this process: any process that
	// loads it can start it.
	Detached bool
	// Bundle is the folder that the spec came from, told to hooks and by State.
	Bundle string
	// NoPivot moves the root instead of pivot_root(2), for roots on a ramdisk.
	NoPivot bool
	// NoKeyring keeps the caller's session keyring.
	NoKeyring bool
}

// New prepares a Runtime: it makes Config.Dir and seals the embedded init in a memfd.
func New(cfg Config) (*Runtime, error) {
	if cfg.Reaper == nil || !filepath.IsAbs(cfg.CgroupParent) || filepath.Clean(cfg.CgroupParent) == "/" {
		return nil, errors.New("runtime: a reaper and an absolute cgroup parent below / are required")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make run state: %w", err)
	}
	r := &Runtime{cfg: cfg}
	var err error
	if r.cgroups, err = cgroup.Detect(); err != nil {
		return nil, err
	}
	if r.ownCaps, err = ownCaps(); err != nil {
		return nil, err
	}
	if r.ownPidNS, err = os.Open("/proc/self/ns/pid"); err != nil {
		return nil, fmt.Errorf("open own pid namespace: %w", err)
	}
	if cfg.SealLater {
		return r, nil
	}
	if err := r.seal(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// seal prepares init, once.
func (r *Runtime) seal() (err error) {
	r.sealed.Do(func() {
		if r.init, err = sealInit(); err == nil {
			r.initPath = procPath(r.init)
		}
	})
	if err == nil && r.init == nil {
		err = errors.New("the container's init could not be prepared")
	}
	return err
}

// List returns the IDs of all containers that have a state folder.
func (r *Runtime) List() ([]string, error) {
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && validID().MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Orphans returns the names of cgroups under the instance's parent that belong to none of the known container IDs.
func (r *Runtime) Orphans(known []string) ([]string, error) {
	keep := []string{filepath.Join(r.cfg.CgroupParent, cgroup.Leaf)}
	for _, id := range known {
		keep = append(keep, r.cgroupOf(id))
	}
	return r.orphansBelow("", keep)
}

// orphansBelow lists groups by their paths below the parent, those above one to keep not being orphans but searched.
func (r *Runtime) orphansBelow(dir string, keep []string) ([]string, error) {
	names, err := r.cgroups.Children(filepath.Join(r.cfg.CgroupParent, dir))
	if err != nil {
		return nil, err
	}
	var orphans []string
	for _, name := range names {
		name = filepath.Join(dir, name)
		path := filepath.Join(r.cfg.CgroupParent, name)
		switch {
		case slices.Contains(keep, path):
		case slices.ContainsFunc(keep, func(k string) bool { return strings.HasPrefix(k, path+"/") }):
			below, err := r.orphansBelow(name, keep)
			if err != nil {
				return nil, err
			}
			orphans = append(orphans, below...)
		default:
			orphans = append(orphans, name)
		}
	}
	return orphans, nil
}

// RemoveOrphans kills every process in cgroups of this runtime that belong to none of the known container IDs, and removes
// those cgroups and the state folders.
func (r *Runtime) RemoveOrphans(ctx context.Context, known []string) error {
	orphans, err := r.Orphans(known)
	errs := []error{err}
	var groups []string
	for _, name := range orphans {
		groups = append(groups, filepath.Join(r.cfg.CgroupParent, name))
	}
	ids, err := r.List()
	errs = append(errs, err)
	ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(known, id) })
	for _, id := range ids {
		if path := r.cgroupOf(id); !slices.Contains(groups, path) { // outside of the parent
			groups = append(groups, path)
		}
	}
	for _, path := range groups {
		g := r.cgroups.Manager(path)
		errs = append(errs, g.Kill(), g.Remove(ctx))
	}
	for _, id := range ids {
		errs = append(errs, r.cfg.Reaper.Release(id), os.RemoveAll(r.dir(id)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove orphans: %w", err)
	}
	return nil
}

// cgroupFile holds, in a container's state folder, where its cgroup is when that is not below the parent. It is written
// before the cgroup is made, so that a crash leaves none behind that nobody knows of.
const cgroupFile = "cgroup"

// cgroupOf is the path of a container's group.
func (r *Runtime) cgroupOf(id string) string {
	if b, err := os.ReadFile(filepath.Join(r.dir(id), cgroupFile)); err == nil {
		return filepath.Clean("/" + string(b))
	}
	return filepath.Join(r.cfg.CgroupParent, id)
}

// placeCgroup decides where a new container's group is. A path of the spec is absolute, or relative to the parent.
func (r *Runtime) placeCgroup(id, wanted string) (string, error) {
	if wanted == "" {
		return filepath.Join(r.cfg.CgroupParent, id), nil
	}
	path := filepath.Clean(wanted)
	if !filepath.IsAbs(wanted) {
		path = filepath.Join(r.cfg.CgroupParent, filepath.Clean("/"+wanted))
	}
	if path == "/" || path == r.cfg.CgroupParent {
		return "", fmt.Errorf("spec: linux.cgroupsPath %q: the container needs a group of its own", wanted)
	}
	return path, os.WriteFile(filepath.Join(r.dir(id), cgroupFile), []byte(path), 0o600)
}

// RemoveParent removes the instance's cgroup parents where they are empty;
// parents that still hold containers stay.
func (r *Runtime) RemoveParent() error {
	return r.cgroups.RemoveParent(r.cfg.CgroupParent)
}

// Close releases the runtime's descriptors. Containers go on.
func (r *Runtime) Close() error {
	err := r.ownPidNS.Close()
	if r.init != nil {
		err = errors.Join(err, r.init.Close())
	}
	return err
}

func (r *Runtime) dir(id string) string       { return filepath.Join(r.cfg.Dir, id) }
func (r *Runtime) stateFile(id string) string { return filepath.Join(r.dir(id), "state.json") }

// validID is what a container may be called: it names folders and cgroups.
var validID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`) })

// makeDir makes a container's state folder, which claims its ID.
func (r *Runtime) makeDir(id string) error {
	if !validID().MatchString(id) {
		return fmt.Errorf("container ID %q: invalid", id)
	}
	err := os.Mkdir(r.dir(id), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("container %s: %w", id, ErrExists)
	}
	return err
}
