package build

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/cache/remotecache"
	inlinecache "github.com/moby/buildkit/cache/remotecache/inline"
	localcache "github.com/moby/buildkit/cache/remotecache/local"
	registrycache "github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/session"
	snapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"tutti/runtime/image"
)

// newWorker ties BuildKit's cache, sources and exporters to the image store.
func newWorker(ctx context.Context, root string, store image.Backend, held *buildLeases, steps executor.Executor) (*base.Worker, *metadata.Store, error) {
	id, err := base.ID(root)
	if err != nil {
		return nil, nil, err
	}
	records, err := metadata.NewStore(filepath.Join(root, "metadata_v2.db"))
	if err != nil {
		return nil, nil, err
	}
	neverSync(records.DB())
	blobs := snapshot.NewContentStore(quietContent{store.Content, held}, store.Namespace)
	w, err := base.NewWorker(ctx, base.WorkerOpt{
		ID:             id,
		Root:           root,
		Labels:         map[string]string{},
		Platforms:      []ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())},
		Executor:       steps,
		Snapshotter:    snapshot.NewSnapshotter(store.SnapshotterName, store.Snapshotter, store.Namespace, nil),
		ContentStore:   blobs,
		Applier:        store.Applier(blobs),
		Differ:         walking.NewWalkingDiff(blobs),
		ImageStore:     store.Images,
		RegistryHosts:  store.Hosts,
		LeaseManager:   leaseutil.WithNamespace(held, store.Namespace),
		GarbageCollect: store.GarbageCollect,
		MetadataStore:  records,
		MountPoolRoot:  filepath.Join(root, "cachemounts"),
	})
	if err != nil {
		return nil, nil, errors.Join(err, records.Close())
	}
	if err := held.reset(ctx); err != nil { // the worker has removed it
		return nil, nil, errors.Join(err, w.Close())
	}
	describe(w, store)
	return w, records, nil
}

// newController opens the solver's cache. Its own garbage collection has nothing to
// do, since the worker has no policy: the Builder prunes in a goroutine it can stop.
func newController(ctx context.Context, root string, w worker.Worker, hosts docker.RegistryHosts, builds *inputsBySession) (*control.Controller, *session.Manager, error) {
	workers := &worker.Controller{}
	if err := workers.Add(w); err != nil {
		return nil, nil, err
	}
	sessions, err := session.NewManager()
	if err != nil {
		return nil, nil, err
	}
	cache, err := bboltcachestorage.NewStore(filepath.Join(root, "cache.db"))
	if err != nil {
		return nil, nil, err
	}
	history, err := boltutil.SafeOpen(filepath.Join(root, "history.db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return nil, nil, errors.Join(err, cache.Close())
	}
	blobs := w.ContentStore()
	controller, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends:        frontends(workers, builds),
		CacheManager:     solver.NewCacheManager(ctx, "local", cache, worker.NewCacheResultStorage(workers)),
		CacheStore:       cache,
		HistoryDB:        history,
		LeaseManager:     w.LeaseManager(),
		ContentStore:     blobs,
		GarbageCollect:   w.GarbageCollect,
		Entitlements:     grantable,
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"local":    localcache.ResolveCacheImporterFunc(sessions),
			"registry": registrycache.ResolveCacheImporterFunc(sessions, blobs, hosts),
		},
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"inline":   inlinecache.ResolveCacheExporterFunc(),
			"local":    localcache.ResolveCacheExporterFunc(sessions),
			"registry": registrycache.ResolveCacheExporterFunc(sessions, hosts),
		},
	})
	if err != nil {
		return nil, nil, errors.Join(err, history.Close(), cache.Close())
	}
	return controller, sessions, nil
}

// connection joins BuildKit's client to the controller through memory.
type connection struct {
	client   *client.Client
	server   *grpc.Server
	sessions *session.Manager
	tasks    sync.WaitGroup
}

const pipeSize = 64 << 10

func connect(ctx context.Context, controller *control.Controller, sessions *session.Manager) (*connection, error) {
	c := &connection{server: grpc.NewServer(serverOptions()...), sessions: sessions}
	controller.Register(c.server)
	pipe := bufconn.Listen(pipeSize)
	c.tasks.Go(func() { _ = c.server.Serve(pipe) }) // ends with Stop
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }
	var err error
	c.client, err = client.New(ctx, "passthrough:///builder", client.WithContextDialer(dial))
	if err != nil {
		c.server.Stop()
		c.tasks.Wait()
		return nil, fmt.Errorf("dial: %w", err)
	}
	return c, nil
}

func (c *connection) close() error {
	err := c.client.Close()
	c.server.Stop()
	c.tasks.Wait()
	return err
}
