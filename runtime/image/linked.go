package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// labelLinked on a layer of an image: the key of the build's layer whose files it has. The prefix is for containerd, see labelBuilt.
const labelLinked = "containerd.io/snapshot/tutti.linked"

// link makes a layer of an image of one that a build has made on top of something else, but of the same content: on layers
// that were there before the build under names of their own, or on nothing, as COPY --link does. Its folders are made anew
// and its files are the same inodes: nobody writes to layers. A layer that cannot be linked is none, and will be unpacked.
//
// What it leaves when the process dies is a layer that is being made, which the next Open removes, or a whole one that nothing
// refers to but the context's lease.
func (s *Store) link(ctx context.Context, layer snapshots.Info, key, below, chain string) error {
	from := layer.Labels[labelUpperdir]
	if from == "" {
		return nil
	}
	spare := snapshots.UnpackKeyPrefix + "-link-" + rand.Text() // as of one that is being unpacked: see dropAbandoned
	mounts, err := s.snapshots.Prepare(ctx, spare, below)
	if err != nil {
		return fmt.Errorf("prepare layer %s: %w", chain, err)
	}
	to, _, err := layerFolder(mounts)
	if err == nil {
		// What stood on nothing has a root of its own, which is not part of the layer.
		err = linkTree(ctx, from, to, layer.Parent != "")
	}
	if err == nil {
		if err = s.snapshots.Commit(ctx, chain, spare, snapshots.WithLabels(map[string]string{labelLinked: key})); err == nil {
			return nil
		}
		if errdefs.IsAlreadyExists(err) { // somebody has unpacked it meanwhile
			return s.snapshots.Remove(ctx, spare)
		}
	}
	if removeErr := s.snapshots.Remove(context.WithoutCancel(ctx), spare); removeErr != nil {
		return errors.Join(err, removeErr)
	}
	return ctx.Err() // anything else unpacking meets, too, or can do without: so many links, so long a path
}

// linkTree gives a folder what another one has: folders like those, and the same files. root is for the folder's own
// attributes.
func linkTree(ctx context.Context, from, to string, root bool) error {
	source, err := openFolder(unix.AT_FDCWD, from, from)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // reads only
	target, err := openFolder(unix.AT_FDCWD, to, to)
	if err != nil {
		return err
	}
	defer target.Close() //nolint:errcheck // reads only
	if err := linkFolder(ctx, source, target); err != nil || !root {
		return err
	}
	return copyAttributes(source, target)
}

func openFolder(at int, name, path string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// entriesAtOnce bounds how much of a folder is read at a time.
const entriesAtOnce = 1024

func linkFolder(ctx context.Context, source, target *os.File) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := source.ReadDir(entriesAtOnce)
		for _, e := range entries {
			if err := linkEntry(ctx, source, target, e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func linkEntry(ctx context.Context, source, target *os.File, e os.DirEntry) error {
	name := e.Name()
	path := filepath.Join(source.Name(), name)
	if !e.IsDir() {
		if err := unix.Linkat(int(source.Fd()), name, int(target.Fd()), name, 0); err != nil {
			return &os.PathError{Op: "link", Path: path, Err: err}
		}
		return nil
	}
	if err := unix.Mkdirat(int(target.Fd()), name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	from, err := openFolder(int(source.Fd()), name, path)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // reads only
	to, err := openFolder(int(target.Fd()), name, filepath.Join(target.Name(), name))
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // reads only
	if err := linkFolder(ctx, from, to); err != nil {
		return err
	}
	return copyAttributes(from, to)
}

// ofOneOverlay are extended attributes by which an overlay remembers where in its lower layers something came from
// (Documentation/filesystems/overlayfs.rst): they mean nothing on top of others.
var ofOneOverlay = []string{"trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.nlink", "trusted.overlay.upper", "trusted.overlay.uuid"}

// copyAttributes gives a folder owner, mode, extended attributes and times of another one, in this order: each changes the
// ones before it otherwise.
func copyAttributes(source, target *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: source.Name(), Err: err}
	}
	to := int(target.Fd())
	err := errors.Join(unix.Fchown(to, int(st.Uid), int(st.Gid)), unix.Fchmod(to, st.Mode&0o7777), copyExtended(source, target))
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", to), []unix.Timespec{st.Atim, st.Mtim}, 0)
	}
	if err != nil {
		return fmt.Errorf("attributes of %s: %w", target.Name(), err)
	}
	return nil
}

func copyExtended(source, target *os.File) error {
	from, to := int(source.Fd()), int(target.Fd())
	size, err := unix.Flistxattr(from, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		if slices.Contains(ofOneOverlay, name) {
			continue
		}
		n, err := unix.Fgetxattr(from, name, nil)
		if err != nil {
			return err
		}
		value := make([]byte, n)
		if n, err = unix.Fgetxattr(from, name, value); err != nil {
			return err
		}
		if err := unix.Fsetxattr(to, name, value[:n], 0); err != nil {
			return err
		}
	}
	return nil
}

// linked are the keys of those of a build's layers that have their files in common with layers of images.
func (s *Store) linked(ctx context.Context) (map[string]bool, error) {
	linked := map[string]bool{}
	err := s.layers.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if key := i.Labels[labelLinked]; key != "" {
			linked[key] = true
		}
		return nil
	})
	if err != nil && !errdefs.IsNotFound(err) { // there were never any
		return nil, fmt.Errorf("look for linked layers: %w", err)
	}
	return linked, nil
}
