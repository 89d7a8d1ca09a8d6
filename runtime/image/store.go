// Package image keeps images and their unpacked layers: a content store, a
// metadata database and an overlay snapshotter of containerd's, used in process.
//
// A name points to a manifest or an index, which points to a configuration and
// to layers. Each layer is unpacked once, into a directory shared by all images
// that have it; Lower returns those directories, ready to be the lower layers of
// an overlay mount.
//
// What is reachable from a name is kept, everything else goes with
// GarbageCollect. An image whose last name moved to another image stays as a
// dangling image until it is removed by its ID, so that a container never loses
// its layers because an image was built or pulled anew.
//
// The store belongs to one process at a time: its databases are locked.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/core/transfer/local"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/platforms"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"tutti/runtime/image/registry"
)

const (
	// namespace is the only containerd namespace of the store.
	namespace = "tutti"
	// snapshotterName is part of the labels that tie a configuration to its layers.
	snapshotterName = "overlayfs"
	// lockTimeout bounds the wait for a store that another process holds.
	lockTimeout = 3 * time.Second
	// parallelDownloads is docker's default of layers fetched at once.
	parallelDownloads = 3
)

// Errors of the store; test with errors.Is.
var (
	// ErrNotFound: no image has this name or ID.
	ErrNotFound = errors.New("no such image")
	// ErrAmbiguous: an ID prefix fits several images.
	ErrAmbiguous = errors.New("ambiguous image ID")
	// ErrNoPlatform: an index has no image for the platform.
	ErrNoPlatform = errors.New("no matching manifest")
	// ErrInUse: the image is not removed because something needs it.
	ErrInUse = errors.New("conflict")
	// ErrDamaged: a database of the store is not one that was written whole.
	ErrDamaged = errors.New("image store is damaged")
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("image store is locked by another process")
)

// Store is an open image store. Its methods may be called concurrently and take
// plain contexts. Every method leaves a consistent store when the process dies.
type Store struct {
	root      string
	database  *metadata.DB
	content   content.Store
	snapshots snapshots.Snapshotter
	records   *records
	leases    leases.Manager
	transfer  transfer.Transferrer
	unpack    unpack.Platform
	clients   *registry.Clients
	catalog   catalog
	pulls     keyedMutex
	work      work
	layers    snapshots.Snapshotter // what snapshots stands on, without names of images
	blobs     content.Store         // what content stands on
	opened    time.Time
	unclean   bool       // the process before this one died, or did not close the store
	sweeping  sync.Mutex // held while what a process that died has left is collected
	limits    limits
}

// Open opens the store in the folder root, which is made when it is missing, and
// removes what a process that died has left mounted. The caller must Close it.
func Open(ctx context.Context, root string) (*Store, error) {
	routeLogs()
	root, err := makeRoot(root)
	if err != nil {
		return nil, fmt.Errorf("create image store: %w", err)
	}
	if strings.ContainsAny(root, ":,") {
		return nil, fmt.Errorf("image store %s: a path with a colon or comma cannot hold overlay layers", root)
	}
	blobs, err := contentlocal.NewStore(filepath.Join(root, "content"))
	if err != nil {
		return nil, fmt.Errorf("open content store: %w", err)
	}
	local, ok := blobs.(localContent)
	if !ok {
		return nil, fmt.Errorf("open content store: a %T cannot list what is being written", blobs)
	}
	if err := checkTogether(root); err != nil {
		return nil, err
	}
	layers, err := openLayers(root)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, "meta.db")
	err = checkBolt(path)
	var db *bolt.DB
	if err == nil {
		db, err = bolt.Open(path, 0o600, boltOptions())
	}
	if err != nil {
		return nil, errors.Join(lockError(fmt.Errorf("open image database: %w", err)), layers.Close())
	}
	s := newStore(root, db, local, layers)
	if err := removeLeftovers(root); err != nil { // the lock is ours
		return nil, errors.Join(fmt.Errorf("clean up after an earlier process: %w", err), s.Close())
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare image database: %w", err), s.database.Close(), s.snapshots.Close())
	}
	return s, nil
}

// begin makes the databases ready for use, after a process that died, too.
func (s *Store) begin(ctx context.Context) (err error) {
	if err := s.database.Init(ctx); err != nil {
		return err
	}
	s.opened = time.Now()
	if s.unclean, err = markOpen(s.root); err != nil || !s.unclean {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return fmt.Errorf("put in order what an earlier process has left: %w", err)
	}
	return nil
}

// makeRoot makes the folder and returns its path as the mount table has it.
func makeRoot(root string) (string, error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return "", err
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(root)
}

// openLayers opens the snapshotter, which labels each snapshot with its folder.
func openLayers(root string) (snapshots.Snapshotter, error) {
	path := filepath.Join(root, "metadata.db")
	if err := checkBolt(path); err != nil { // the meta store opens it later
		return nil, lockError(fmt.Errorf("open layer database: %w", err))
	}
	meta, err := storage.NewMetaStore(path, func(o *bolt.Options) error {
		*o = *boltOptions()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open layer database: %w", err)
	}
	layers, err := overlay.NewSnapshotter(root, overlay.AsynchronousRemove, overlay.WithUpperdirLabel, overlay.WithMetaStore(meta))
	if err != nil {
		return nil, fmt.Errorf("open overlay snapshotter: %w", err)
	}
	if err := spreadFolders(filepath.Join(root, "snapshots")); err != nil {
		return nil, errors.Join(err, layers.Close())
	}
	return layers, nil
}

func boltOptions() *bolt.Options {
	return &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType, NoFreelistSync: true}
}

func lockError(err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return err
}

func newStore(root string, db *bolt.DB, blobs localContent, layers snapshots.Snapshotter) *Store {
	m := metadata.NewDB(db, tellingContent{blobs}, map[string]snapshots.Snapshotter{snapshotterName: shareable{layers}})
	s := &Store{
		root:      root,
		database:  m,
		content:   closingContent{m.ContentStore()},
		snapshots: m.Snapshotter(snapshotterName),
		leases:    metadata.NewLeaseManager(m),
		layers:    layers,
		blobs:     blobs,
		limits:    defaultLimits,
	}
	s.records = &records{db: m, images: metadata.NewImageStore(m), changed: s.catalog.invalidate, work: &s.work}
	s.clients = registry.New(registry.Options{})
	s.unpack = unpack.Platform{
		Platform:       platforms.All,
		SnapshotterKey: snapshotterName,
		Snapshotter:    s.snapshots,
		Applier:        &applier{content: s.content, root: root, limits: &s.limits},
	}
	s.transfer = local.NewTransferService(bounded{discardingStore{s.content}}, s.records, local.TransferConfig{
		Leases:                      s.leases,
		MaxConcurrentDownloads:      parallelDownloads,
		MaxConcurrentUploadedLayers: parallelDownloads,
		DuplicationSuppressor:       new(keyedMutex),
		UnpackPlatforms:             []unpack.Platform{s.unpack},
	})
	return s
}

// Close releases the store. Operations that still run fail: when there are some, the next Open is to look after them.
func (s *Store) Close() error {
	s.clients.Close()
	err := errors.Join(s.snapshots.Close(), s.database.Close())
	if err != nil {
		return err
	}
	return markClosed(s.root)
}

// scope adds the namespace that containerd's stores want in each context.
func scope(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, namespace)
}
