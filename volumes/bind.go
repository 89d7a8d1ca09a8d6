package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func (s *Store) bindMount(w Mount) (specs.Mount, error) {
	if !filepath.IsAbs(w.Source) {
		return specs.Mount{}, fmt.Errorf("%w on %s: source %q must be an absolute path", ErrMount, w.Target, w.Source)
	}
	source, err := filepath.EvalSymlinks(w.Source)
	if errors.Is(err, fs.ErrNotExist) {
		if !w.CreateHostPath {
			return specs.Mount{}, fmt.Errorf("%w on %s: %s does not exist on the host: create it, or set create_host_path: true",
				ErrMount, w.Target, w.Source)
		}
		if err = makeFolder(w.Source); err == nil {
			source, err = filepath.EvalSymlinks(w.Source)
		}
	}
	if err != nil {
		return specs.Mount{}, fmt.Errorf("%w on %s: source %s: %w", ErrMount, w.Target, w.Source, err)
	}
	options, err := bindOptions(w, source)
	if err != nil {
		return specs.Mount{}, err
	}
	return specs.Mount{Destination: w.Target, Type: "bind", Source: source, Options: options}, nil
}

// makeFolder makes a folder with mode 0755 whatever the umask, and its parents.
func makeFolder(name string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	if err := makeFolder(filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) { // made by another container just now, or a dangling symlink
			_, err = os.Stat(name)
		}
		return err
	}
	return os.Chmod(name, 0o755) //nolint:gosec // as docker makes it
}

// bindOptions are docker's: all mounts below come along, read-only ones recursively
// where the kernel can do that, and nothing is propagated unless wanted.
func bindOptions(w Mount, source string) ([]string, error) {
	bind, readOnly := "rbind", "ro"
	if recursiveReadOnly() {
		readOnly = "rro"
	}
	switch w.Recursive {
	case "", "enabled":
	case "disabled":
		bind, readOnly = "bind", "ro"
	case "writable":
		readOnly = "ro"
	case "readonly":
		if !w.ReadOnly || readOnly != "rro" || w.Propagation != "" && w.Propagation != "rprivate" {
			return nil, fmt.Errorf("%w on %s: bind.recursive readonly needs read_only: true, propagation rprivate and Linux 5.12", ErrMount, w.Target)
		}
	default:
		return nil, fmt.Errorf("%w on %s: bind.recursive %q: use enabled, disabled, writable or readonly", ErrMount, w.Target, w.Recursive)
	}
	options := []string{bind}
	if w.ReadOnly {
		options = append(options, readOnly)
	}
	propagation, err := checkPropagation(w, source)
	return append(options, propagation), err
}

// recursiveReadOnly says whether the kernel has mount_setattr(2).
var recursiveReadOnly = sync.OnceValue(func() bool {
	err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{})
	return !errors.Is(err, unix.ENOSYS)
})

// checkPropagation refuses what would silently have no effect: mounts are passed on
// only where the host's mount takes part.
func checkPropagation(w Mount, source string) (string, error) {
	switch w.Propagation {
	case "":
		return "rprivate", nil
	case "private", "rprivate":
		return w.Propagation, nil
	case "shared", "rshared", "slave", "rslave":
	default:
		return "", fmt.Errorf("%w on %s: bind.propagation %q: use private, slave or shared, or rprivate, rslave or rshared",
			ErrMount, w.Target, w.Propagation)
	}
	at, err := mountOf(source)
	if err != nil {
		return "", err
	}
	if !takesPart(at.Optional, w.Propagation) {
		return "", fmt.Errorf("%w on %s: propagation %s: %s lies on the mount %s, which is private: run mount --make-shared %s first",
			ErrMount, w.Target, w.Propagation, source, at.Mountpoint, at.Mountpoint)
	}
	return w.Propagation, nil
}

// takesPart says whether a mount with these optional fields (proc_pid_mountinfo(5))
// passes mounts on to a bind of that propagation.
func takesPart(optional, propagation string) bool {
	return slices.ContainsFunc(strings.Fields(optional), func(field string) bool {
		return strings.HasPrefix(field, "shared:") || strings.HasPrefix(field, "master:") && strings.HasSuffix(propagation, "slave")
	})
}

// mountOf finds the mount of this process's namespace that a real path lies on.
func mountOf(name string) (*mountinfo.Info, error) {
	list, err := mountinfo.GetMounts(mountinfo.ParentsFilter(name))
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var found *mountinfo.Info
	for _, m := range list {
		if found == nil || len(m.Mountpoint) >= len(found.Mountpoint) { // the later one covers an earlier one
			found = m
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%s is on no mount", name)
	}
	return found, nil
}

func mountsOf(pid int) ([]*mountinfo.Info, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return mountinfo.GetMountsFromReader(f, nil)
}

// RootfsPropagation is what Linux.RootfsPropagation of the spec must be for these
// mounts: "rshared", "rslave", or empty for the default.
func RootfsPropagation(mounts []specs.Mount) string {
	result := ""
	for _, m := range mounts {
		if slices.Contains(m.Options, "shared") || slices.Contains(m.Options, "rshared") {
			return "rshared"
		}
		if slices.Contains(m.Options, "slave") || slices.Contains(m.Options, "rslave") {
			result = "rslave"
		}
	}
	return result
}

// realPath is where an open file is on the host.
func realPath(f *os.File) (string, error) {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err == nil && !path.IsAbs(name) {
		err = fmt.Errorf("%s is not a path", name)
	}
	return name, err
}

// Verify says whether the mounts of volumes' subpaths lead where [Store.Mounts]
// found them. Between the two, a container that has the same volume mounted can put a
// symlink in the way. It looks at the mount table of the container's blocked init, pid,
// and is to be called before the container is started.
func (s *Store) Verify(pid int, mounts []specs.Mount) error {
	var table []*mountinfo.Info
	for _, m := range mounts {
		rel, ok := strings.CutPrefix(m.Source, s.dir+"/")
		if !ok || m.Type != "bind" || strings.Count(rel, "/") < 2 {
			continue // not below <name>/_data
		}
		on, err := mountOf(s.dir)
		if err != nil {
			return err
		}
		if table == nil {
			if table, err = mountsOf(pid); err != nil {
				return fmt.Errorf("read the mount table of process %d: %w", pid, err)
			}
		}
		below, err := filepath.Rel(on.Mountpoint, m.Source)
		if err != nil {
			return err
		}
		want := path.Join(on.Root, below)
		if !slices.ContainsFunc(table, func(i *mountinfo.Info) bool {
			return i.Root == want && i.Major == on.Major && i.Minor == on.Minor
		}) {
			return fmt.Errorf("%w on %s: %s was replaced while it was being mounted", ErrMount, m.Destination, m.Source)
		}
	}
	return nil
}
