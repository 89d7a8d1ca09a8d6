package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/errdefs"
)

// openFile is there while a process has the store open: whoever finds it at opening comes after one that died.
const openFile = "open"

// markOpen notes that the store is open, and tells whether it was never closed before.
func markOpen(root string) (unclean bool, err error) {
	path := filepath.Join(root, openFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

func markClosed(root string) error {
	err := os.Remove(filepath.Join(root, openFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// recover puts in order what a process has left that died: each of the databases and the folders is whole, but one may know
// what another does not. Nobody works with the store yet.
func (s *Store) recover(ctx context.Context) error {
	ctx = scope(ctx)
	if err := s.dropAbandoned(ctx); err != nil {
		return err
	}
	faults, err := s.unknownContent(ctx)
	if err != nil {
		return err
	}
	more, err := s.unknownLayers(ctx)
	if err != nil {
		return err
	}
	for _, f := range append(faults, more...) {
		if err := f.Repair(ctx); err != nil {
			return fmt.Errorf("%s %s: %w", f.Problem, f.Object, err)
		}
	}
	return nil
}

// dropAbandoned removes records of layers that were being unpacked: the next unpacking begins anew. Records of layers
// that never came to be, because the process died between the two databases, go as well.
func (s *Store) dropAbandoned(ctx context.Context) error {
	var dead []string
	err := s.snapshots.Walk(ctx, func(ctx context.Context, i snapshots.Info) error {
		if i.Kind == snapshots.KindActive && strings.HasPrefix(i.Name, snapshots.UnpackKeyPrefix+"-") {
			dead = append(dead, i.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	lost, err := s.lostRecords(ctx)
	if err != nil {
		return err
	}
	return s.dropRecords(ctx, append(dead, lost...))
}

// dropRecords removes records of layers, those on top of others first.
func (s *Store) dropRecords(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		var left []string
		for _, key := range keys {
			switch err := s.snapshots.Remove(ctx, key); {
			case err == nil, errdefs.IsNotFound(err):
			case errdefs.IsFailedPrecondition(err): // something stands on it
				left = append(left, key)
			default:
				return fmt.Errorf("remove the record of layer %s: %w", key, err)
			}
		}
		if len(left) == len(keys) {
			return fmt.Errorf("layers %v have others on them", left)
		}
		keys = left
	}
	return nil
}

// collect is GarbageCollect for those that hold a context of containerd's: one collection at a time, and with it the
// folders of layers that were removed from the database by a process that died.
func (s *Store) collect(ctx context.Context) (gc.Stats, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	stats, err := s.database.GarbageCollect(ctx)
	if err != nil || !s.unclean {
		return stats, err
	}
	if err := s.cleanFolders(ctx); err != nil {
		return stats, fmt.Errorf("remove folders of layers: %w", err)
	}
	s.unclean = false
	return stats, nil
}

// GarbageCollect removes what no name, lease or build refers to: content, then
// layer folders. Call it after removals; it does not disturb other operations,
// but writes wait while it marks.
func (s *Store) GarbageCollect(ctx context.Context) error {
	if _, err := s.collect(scope(ctx)); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	return nil
}

// Unclean tells whether the process before this one has not closed the store, and GarbageCollect has not been called since.
func (s *Store) Unclean() bool {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	return s.unclean
}

// keepLease is what holds the layers of an image whose configuration is lost.
func keepLease(id string) leases.Lease { return leases.Lease{ID: keepPrefix + id} }

const keepPrefix = "tutti-keep-"
