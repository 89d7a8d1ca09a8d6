package runtime

import (
	"context"
	"errors"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Config says where a Runtime keeps its state.
type Config struct {
	Dir          string // run state, one folder per container: <run>/containers
	CgroupParent string // absolute path inside every cgroup hierarchy, "/tutti-ab12"
	Reaper       Reaper
}

// Runtime makes containers. All methods may be called concurrently.
type Runtime struct {
	cfg Config
}

// Stdio are the child's ends of its standard streams; nil means /dev/null. With
// Process.Terminal they are ignored, the terminal takes their place.
type Stdio struct {
	Stdin, Stdout, Stderr *os.File
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
}

var errNotBuilt = errors.New("runtime: not built yet")

// New prepares a Runtime: it makes Config.Dir and seals the embedded init in a memfd.
func New(cfg Config) (*Runtime, error) {
	return &Runtime{cfg: cfg}, nil
}

// Create makes a container whose init has set up everything and waits for Start.
// Errors of init's steps are returned here.
func (r *Runtime) Create(ctx context.Context, id string, spec *specs.Spec, o CreateOptions) (*Container, error) {
	return nil, errNotBuilt
}

// Load finds a container again after a restart of the engine, from its state
// file, pid and start time. The error is ErrNoContainer when there is none.
func (r *Runtime) Load(id string) (*Container, error) {
	return nil, errNotBuilt
}

// List returns the IDs of all containers that have a state folder.
func (r *Runtime) List() ([]string, error) {
	return nil, errNotBuilt
}

// Orphans returns the names of cgroups under the instance's parent that belong
// to none of the known container IDs.
func (r *Runtime) Orphans(known []string) ([]string, error) {
	return nil, errNotBuilt
}

// RemoveOrphans kills every process in those cgroups and removes the cgroups and
// the state folders of containers that are not known.
func (r *Runtime) RemoveOrphans(ctx context.Context, known []string) error {
	return errNotBuilt
}

// RemoveParent removes the instance's empty cgroup parents; parents that still
// hold containers stay.
func (r *Runtime) RemoveParent() error {
	return errNotBuilt
}

// Close releases the runtime's descriptors. Containers go on.
func (r *Runtime) Close() error {
	return nil
}
