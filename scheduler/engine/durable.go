package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/statefile"
	"tutti/scheduler/container"
)

// A container's record is replaced by rename, which a killed engine cannot tear. A power cut can: many file systems may
// have the new name on the disk before the new content, and the file is empty then. To write through at every change would
// make `up` wait for the disk. So the record is written through soon after, and its name is then given to it a second
// time (durableName): the one of the two that is whole is the record.
const (
	durableName = "container.json.durable"
	saveRetry   = time.Second            // after a record could not be written
	syncDelay   = 250 * time.Millisecond // collects the changes of an `up`
)

// syncer writes records through to the disk.
type syncer struct {
	log   *slog.Logger
	saved func(*Unit) // told when a record is on the disk

	mu      sync.Mutex
	pending map[*Unit]struct{}
	wake    chan struct{}
}

func newSyncer(log *slog.Logger, saved func(*Unit)) *syncer {
	return &syncer{log: log, saved: saved, pending: map[*Unit]struct{}{}, wake: make(chan struct{}, 1)}
}

// add says that u's record has changed, or is to be written.
func (s *syncer) add(u *Unit) {
	if s == nil {
		return // a unit without an engine
	}
	s.mu.Lock()
	s.pending[u] = struct{}{}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run works until done is closed, and leaves nothing to do.
func (s *syncer) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			s.flush()
			return
		case <-s.wake:
		}
		select {
		case <-done:
		case <-time.After(syncDelay):
		}
		s.flush()
	}
}

func (s *syncer) flush() {
	s.mu.Lock()
	pending := s.pending
	s.pending = map[*Unit]struct{}{}
	s.mu.Unlock()
	for u := range pending {
		if err := u.save(); err != nil {
			s.log.Error("write a container's record", "container", u.Name(), "error", err)
			time.AfterFunc(saveRetry, func() { s.add(u) })
			continue
		}
		s.saved(u)
		if err := makeDurable(u.dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			s.log.Error("write a container's record through to the disk", "container", u.Name(), "error", err)
		}
	}
}

// makeDurable writes the record in a container's folder through to the disk. A record that is replaced meanwhile is due
// again anyway.
func makeDurable(dir string) error {
	f, err := os.Open(recordPath(dir))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	next := filepath.Join(dir, "."+durableName)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a crash
		return err
	}
	// The file that was written through, not the one that has its name by now.
	self := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	err = unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, next, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // replaced
	}
	if err != nil {
		return &os.LinkError{Op: "link", Old: f.Name(), New: next, Err: err}
	}
	if err := os.Rename(next, filepath.Join(dir, durableName)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readRecord reads the record of the container with the folder dir: the last that was written, or, if that was damaged, the
// last that was written through to the disk. damage is what is wrong with the former. The error is fs.ErrNotExist when the
// container was being created or removed.
func readRecord(dir string) (rec container.Record, damage, err error) {
	damage = readOneRecord(recordPath(dir), filepath.Base(dir), &rec)
	if damage == nil || errors.Is(damage, fs.ErrNotExist) {
		return rec, nil, damage
	}
	rec = container.Record{}
	if err := readOneRecord(filepath.Join(dir, durableName), filepath.Base(dir), &rec); err != nil {
		return rec, damage, fmt.Errorf("no copy of it is whole: %w", err)
	}
	return rec, damage, nil
}

func readOneRecord(path, id string, rec *container.Record) error {
	if err := statefile.Read(path, rec); err != nil {
		return err
	}
	if rec.ID != id {
		return fmt.Errorf("%s is the record of container %q", path, rec.ID)
	}
	return nil
}
