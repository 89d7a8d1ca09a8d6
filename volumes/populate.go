package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The first copy of an image's content goes to a folder beside the data, which is
// renamed when it is complete and on its way to the disk, and then emptied into the
// data folder entry by entry. So the data folder itself stays the same, which other
// containers may have mounted already, and a crash at any point is followed either
// by a new copy or by the rest of the moves.
const (
	copyDraft = ".tutti-copying"
	copyReady = ".tutti-copied"
)

// Populate fills an empty volume with what the image has at path (first use of a
// volume), owner and mode of the folder included, as docker does. imageRoot is the
// image's root file system as a directory; symlinks on the way to path stay inside
// it. Nothing happens when the volume has content, when the image has nothing at
// path, and for volumes whose data is not in a folder of this host (NFS, tmpfs).
// After a crash it is simply called again.
func (s *Store) Populate(ctx context.Context, v Volume, imageRoot, path string) error {
	return s.populate(v, func(data *target) error {
		root, err := openDir(imageRoot)
		if err != nil {
			return err
		}
		defer root.Close() //nolint:errcheck // read only
		return data.fillFrom(ctx, root, path, false)
	})
}

// populate runs fill on the volume's data folder if that is empty.
func (s *Store) populate(v Volume, fill func(*target) error) error {
	path, ok := v.dataPath()
	if !ok {
		return nil
	}
	data, err := openTarget(s.path(v.Name), path, v.isPlain())
	if err != nil {
		return fmt.Errorf("fill volume %q: %w", v.Name, err)
	}
	defer data.close()
	empty, err := data.recover()
	if err == nil && empty {
		err = fill(data)
	}
	if err != nil {
		return fmt.Errorf("fill volume %q: %w", v.Name, err)
	}
	return nil
}

// errNotFolder tells that the image has something else than a folder where the volume goes.
var errNotFolder = errors.New("a volume cannot be mounted over a file of the image: use another path")

// target is the data folder of a volume that is locked for filling.
type target struct {
	volume *os.File // the volume's folder; holds the lock
	data   *os.File
	stage  *os.File // where the copy is made: on data's file system
}

// openTarget waits for others that fill the same volume, in whatever process. The lock
// ends with the descriptor.
func openTarget(volume, data string, plain bool) (*target, error) {
	t := &target{}
	var err error
	if t.volume, err = openDir(volume); err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(t.volume.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		t.data, err = openDir(data)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	t.stage = t.volume
	if !plain {
		t.stage = t.data // the only place that is sure to be on the same file system
	}
	return t, nil
}

func (t *target) close() {
	_ = t.volume.Close()
	if t.data != nil {
		_ = t.data.Close()
	}
}

// recover finishes or forgets an earlier copy and says whether the data folder is empty.
func (t *target) recover() (empty bool, err error) {
	if err := os.RemoveAll(procPath(t.stage, copyDraft)); err != nil {
		return false, err
	}
	if err := t.moveIn(); err != nil {
		return false, err
	}
	return isEmpty(t.data)
}

// fillFrom copies from below an image's root.
func (t *target) fillFrom(ctx context.Context, root *os.File, path string, layer bool) error {
	src, err := openIn(root, path, unix.O_RDONLY|unix.O_DIRECTORY) // which never opens a device
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%s: %w", path, errNotFolder)
	}
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // read only
	return t.fill(ctx, src, layer)
}

func (t *target) fill(ctx context.Context, src *os.File, layer bool) error {
	empty, err := isEmpty(src)
	if err != nil {
		return err
	}
	if empty {
		return copyAttributes(t.data, src)
	}
	if err := unix.Mkdirat(int(t.stage.Fd()), copyDraft, 0o700); err != nil {
		return fmt.Errorf("make a folder for the copy: %w", err)
	}
	draft, err := openDirAt(t.stage, copyDraft)
	if err != nil {
		return err
	}
	defer draft.Close() //nolint:errcheck // a directory
	if err := copyTree(ctx, draft, src, layer); err != nil {
		return errors.Join(err, os.RemoveAll(procPath(t.stage, copyDraft)))
	}
	if err := unix.Syncfs(int(draft.Fd())); err != nil {
		return fmt.Errorf("write the copy to the disk: %w", err)
	}
	if err := unix.Renameat(int(t.stage.Fd()), copyDraft, int(t.stage.Fd()), copyReady); err != nil {
		return err
	}
	return t.moveIn()
}

// moveIn moves a complete copy into the data folder, if there is one. What others
// put there in the meantime stays.
func (t *target) moveIn() error {
	ready, err := openDirAt(t.stage, copyReady)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ready.Close() //nolint:errcheck // a directory
	var st unix.Stat_t  // before the moves, which change its time
	if err := unix.Fstat(int(ready.Fd()), &st); err != nil {
		return err
	}
	names, err := ready.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := moveEntry(t.data, ready, name); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("move %s into the volume: %w", name, err)
		}
	}
	if err := copyEntryAttributes(procPath(t.data, "."), procPath(ready, "."), &st); err != nil {
		return err
	}
	if err := os.RemoveAll(procPath(t.stage, copyReady)); err != nil {
		return err
	}
	return setTimes(procPath(t.data, "."), &st) // again: the copy may have been in there
}

// moveEntry fails with EEXIST rather than replace something, where the file system knows how.
func moveEntry(dst, src *os.File, name string) error {
	err := unix.Renameat2(int(src.Fd()), name, int(dst.Fd()), name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		return unix.Renameat(int(src.Fd()), name, int(dst.Fd()), name)
	}
	return err
}

// finishCopies moves copies into place that were complete when the engine died.
func (s *Store) finishCopies() error {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if _, err := os.Lstat(s.path(e.Name(), copyReady)); err != nil {
			continue
		}
		v := Volume{Spec: Spec{Name: e.Name()}, Path: s.path(e.Name(), dataDir)}
		if err := s.populate(v, func(*target) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}
