package build

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/moby/buildkit/client"
	httpsource "github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/util/tracing"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"

	"tutti/runtime/build/clients"
	"tutti/runtime/image"
)

// labelSnapshotter tells docker's clients that images lie in containerd's stores, so that results can be had as archives,
// caches be written, and images be pushed by the builder (buildx, driver/docker).
const labelSnapshotter = "org.mobyproject.buildkit.worker.snapshotter"

// ServeControl serves BuildKit's control API, as clients of the Docker Engine API ask for it with POST /grpc, on the connection
// that take returns until it is closed or ctx ends. uid is the user at its other end.
func (b *Builder) ServeControl(ctx context.Context, uid uint32, take func() (net.Conn, error)) error {
	return b.clients.ServeControl(ctx, uid, take)
}

// ServeSession serves POST /session, with the request's header: what the client offers to its builds.
func (b *Builder) ServeSession(ctx context.Context, header http.Header, uid uint32, take func() (net.Conn, error)) error {
	return b.clients.ServeSession(ctx, header, uid, take)
}

// forClients is a worker that stores what clients build in the image store, by its names.
func forClients(w worker.Worker, store *image.Store) worker.Worker {
	return &clients.Worker{Worker: w, Dangling: store.Backend().DanglingPrefix, Record: func(ctx context.Context, names []string, answer map[string]string) (string, error) {
		built, err := record(ctx, store, names, answer)
		return built.ID, err
	}}
}

// describe tells what clients are to know of the worker.
func describe(w *base.Worker, store image.Backend) {
	w.WorkerOpt.Labels[labelSnapshotter] = store.SnapshotterName
	setVersion()
	w.WorkerOpt.BuildkitVersion = client.BuildkitVersion{Package: version.Package, Version: version.Version}
}

// setVersion tells BuildKit its version, which it expects from the linker: it shows it to clients and writes it into what it
// states about builds.
var setVersion = sync.OnceFunc(func() {
	if v := moduleVersion(version.Package); v != "" {
		version.Version = v
	}
})

// moduleVersion is that of a module which this program is linked with, "" when nobody knows.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}

// acceptBodies makes the worker take contexts from the bodies of requests.
func acceptBodies(w *base.Worker, bodies *bodies) error {
	bodies.next = tracing.DefaultTransport
	source, err := httpsource.NewSource(httpsource.Opt{CacheAccessor: w.CacheMgr, Transport: bodies})
	if err != nil {
		return fmt.Errorf("make the source of contexts: %w", err)
	}
	w.SourceManager.Register(source)
	w.HTTPSource = source
	return nil
}

// newClients serves clients outside of this process.
func (b *Builder) newClients(ctx context.Context) *clients.Server {
	return clients.New(ctx, clients.Config{
		Controller: b.controller, Sessions: b.conn.sessions, Dangling: b.backend.DanglingPrefix,
		Begin: func() func() {
			built, stored := b.building(), b.store.Begin()
			return func() { stored(); built() }
		},
		Explain:   func(err error) error { return b.store.Room(err, 0) },
		Platforms: checkPlatforms,
		Shared: func() (func(string) bool, error) {
			layers, err := b.layers()
			return func(id string) bool { return isChain(layers[id]) }, err
		},
		Prune:   b.Prune,
		Options: serverOptions(),
	})
}
