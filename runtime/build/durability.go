package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	bolt "go.etcd.io/bbolt"

	"tutti/runtime/boltcheck"
	"tutti/runtime/image"
)

// The cache's databases are written without fsync, which would cost a cached build
// some twenty disk flushes. The kernel keeps what is written when the process dies.
// After a crash of the host they may be torn, so they are thrown away then: the file
// "unsynced" holds the boot ID of the kernel that has unwritten pages of them, and
// is removed by a proper close.

const (
	// lockTimeout bounds the wait for a cache that another process holds.
	lockTimeout = 3 * time.Second

	// historySuffix ends the namespace in which BuildKit keeps what belongs to its history of builds (history.db).
	historySuffix = "_history"

	bootIDFile   = "/proc/sys/kernel/random/boot_id"
	unsyncedFile = "unsynced"
)

// cacheFiles are BuildKit's databases in the builder's folder.
var cacheFiles = []string{"metadata_v2.db", "cache.db", "history.db"}

// beginUnsynced discards the cache when it may be torn and marks it as unsynced.
func beginUnsynced(ctx context.Context, root string, store image.Backend) error {
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return fmt.Errorf("read boot ID: %w", err)
	}
	marker := filepath.Join(root, unsyncedFile)
	old, err := os.ReadFile(marker)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read %s: %w", marker, err)
	case string(old) != string(boot):
		if err := discardCache(ctx, root, store); err != nil {
			return fmt.Errorf("discard the build cache of a crashed host: %w", err)
		}
	}
	if string(old) == string(boot) {
		return nil
	}
	if err := os.WriteFile(marker, boot, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", marker, err)
	}
	return errors.Join(syncFile(marker), syncFile(root))
}

// endUnsynced writes everything to the disk and removes the mark.
func endUnsynced(root string) error {
	for _, name := range cacheFiles {
		if err := syncFile(filepath.Join(root, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(root, unsyncedFile)); err != nil {
		return fmt.Errorf("mark the build cache as synced: %w", err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// discardCache removes the databases and the leases that kept their layers, which
// go with the next collection.
func discardCache(ctx context.Context, root string, store image.Backend) error {
	if err := dropLeases(namespaces.WithNamespace(ctx, store.Namespace), store.Leases, isCacheLease); err != nil {
		return err
	}
	all := func(leases.Lease) bool { return true }
	if err := dropLeases(namespaces.WithNamespace(ctx, store.Namespace+historySuffix), store.Leases, all); err != nil {
		return err
	}
	for _, name := range cacheFiles {
		if err := os.Remove(filepath.Join(root, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func dropLeases(ctx context.Context, m leases.Manager, which func(leases.Lease) bool) error {
	list, err := m.List(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range list {
		if !which(l) {
			continue
		}
		if err := m.Delete(ctx, l); err != nil {
			return fmt.Errorf("delete lease %s: %w", l.ID, err)
		}
	}
	return nil
}

// Databases are the files of the cache in a builder's folder.
func Databases(root string) []string {
	var all []string
	for _, name := range cacheFiles {
		all = append(all, filepath.Join(root, name))
	}
	return all
}

// discardDamaged throws the cache away when one of its databases cannot be read: builds begin anew then. What is known of
// the cache stands in all of them.
func discardDamaged(ctx context.Context, root string, store image.Backend) error {
	for _, path := range Databases(root) {
		err := boltcheck.Check(path, lockTimeout)
		if err == nil {
			continue
		}
		if !errors.Is(err, boltcheck.ErrDamaged) {
			return fmt.Errorf("look at the build cache: %w", err)
		}
		slog.ErrorContext(ctx, "the build cache is damaged: it begins anew", "error", err)
		if err := discardCache(ctx, root, store); err != nil {
			return fmt.Errorf("discard the damaged build cache: %w", err)
		}
		return nil
	}
	return nil
}

// isCacheLease recognises the leases of BuildKit's cache records: they never expire.
func isCacheLease(l leases.Lease) bool {
	_, flat := l.Labels["containerd.io/gc.flat"]
	_, expires := l.Labels["containerd.io/gc.expire"]
	return flat && !expires || strings.HasSuffix(l.ID, "-variants")
}

// neverSync turns off fsync for a database that is opened without a choice.
func neverSync(db any) {
	if b, ok := db.(*bolt.DB); ok {
		b.NoSync = true
	}
}
