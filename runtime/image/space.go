package image

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// Room adds to an error of an operation that could not write what is to be done about it: how much is free where the store
// lies, and how much was to be written. needed is in bytes, 0 when that is not known. Other errors are returned as they are.
//
// BuildKit's errors come as text, so the text counts, too.
func (s *Store) Room(err error, needed int64) error {
	is := func(errno unix.Errno) bool {
		return errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error())
	}
	switch {
	case err == nil:
		return nil
	case is(unix.EROFS):
		return fmt.Errorf("%w\nthe file system of %s is read-only: make it writable, or use another folder with --root", err, s.root)
	case errors.Is(err, errNoRoom):
		return fmt.Errorf("%w\nthere is not enough room on the disk of %s: `tutti system df` says what takes it, `tutti system prune` frees some", err, s.root)
	case !is(unix.ENOSPC) && !is(unix.EDQUOT):
		return err
	}
	free := "an unknown amount is"
	var st unix.Statfs_t
	if unix.Statfs(s.root, &st) == nil {
		free = units.HumanSize(float64(st.Bavail)*float64(st.Bsize)) + " are"
	}
	need := ""
	if needed > 0 {
		need = ", and " + units.HumanSize(float64(needed)) + " were to be fetched and unpacked"
	}
	return fmt.Errorf("%w\nthe disk of %s is full: %s free now that what was written is removed%s; `tutti system df` says what takes it, `tutti system prune` frees some",
		err, s.root, free, need)
}

// own tells whether an error is of this host, and not of a registry: a layer that cannot be unpacked, or a disk.
func own(err error) bool {
	if _, ok := errors.AsType[*layerError](err); ok {
		return true
	}
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// totals adds up what a transfer says of the sizes of its parts.
type totals struct {
	mu    sync.Mutex
	parts map[string]int64
}

// watch is a progress function that remembers sizes and passes on.
func (t *totals) watch(next func(Progress)) func(Progress) {
	t.parts = map[string]int64{}
	return func(p Progress) {
		t.mu.Lock()
		t.parts[p.Layer] = max(t.parts[p.Layer], p.Total)
		t.mu.Unlock()
		if next != nil {
			next(p)
		}
	}
}

func (t *totals) sum() (sum int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, size := range t.parts {
		sum += size
	}
	return sum
}
