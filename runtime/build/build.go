// Package build makes images from Dockerfiles: BuildKit, embedded in the process,
// on the image store's content and layers. RUN steps are containers of package
// runtime.
//
// A Builder opens its databases once and stays; a cached build then takes some
// milliseconds. Nothing of it listens anywhere: client and controller talk through
// memory.
package build

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/worker/base"
	"github.com/opencontainers/go-digest"

	"tutti/runtime"
	"tutti/runtime/build/clients"
	"tutti/runtime/image"
)

// Config of New.
type Config struct {
	Root    string           // folder for the cache's databases, <state>/build
	Store   *image.Store     // where bases come from and results go
	Runtime *runtime.Runtime // runs RUN steps

	// Network makes the network of a RUN step. Nil: RUN steps use the host's network.
	Network func(ctx context.Context) (StepNetwork, error)

	// Rested is called when memory was let go of, since nobody has built for a while; may be nil.
	Rested func()
}

// StepNetwork is a network namespace for one RUN step.
type StepNetwork struct {
	Path    string     // of the namespace
	Host    netip.Addr // by which the step reaches the host ("host-gateway"); zero when it does not
	Release func()     // called when the step has ended
}

// Builder builds images. Its methods may be called concurrently.
type Builder struct {
	root       string
	store      *image.Store
	backend    image.Backend
	worker     *base.Worker
	controller *control.Controller
	conn       *connection
	gc         *collector
	rester     *rester
	maxEntries int             // of a folder, see maxEntries
	records    *metadata.Store // of the cache; closed by the worker
	leases     *buildLeases
	steps      *steps
	repeats    *repeats
	builds     *inputsBySession
	clients    *clients.Server
	bodies     *bodies
}

// New opens the builder in Config.Root, which is made when it is missing, and
// removes what a builder that died has left mounted there. ctx ends background
// work; the caller must also Close the builder, before the image store. A process
// opens one folder once: BuildKit remembers its records in global variables.
func New(ctx context.Context, c Config) (*Builder, error) {
	if err := os.MkdirAll(c.Root, 0o711); err != nil {
		return nil, fmt.Errorf("create build folder: %w", err)
	}
	if err := image.UnmountBelow(c.Root); err != nil {
		return nil, fmt.Errorf("clean up after an earlier builder: %w", err)
	}
	backend := c.Store.Backend()
	if err := discardDamaged(ctx, c.Root, backend); err != nil {
		return nil, err
	}
	if err := beginUnsynced(ctx, c.Root, backend); err != nil {
		return nil, err
	}
	steps, err := newSteps(filepath.Join(c.Root, "run"), c.Runtime, c.Network)
	if err != nil {
		return nil, err
	}
	held := newBuildLeases(backend.Leases, backend.Namespace)
	worker, records, err := newWorker(ctx, c.Root, backend, held, steps)
	if err != nil {
		return nil, fmt.Errorf("open build worker: %w", err)
	}
	bodies := newBodies()
	if err := acceptBodies(worker, bodies); err != nil {
		return nil, errors.Join(err, worker.Close())
	}
	builds, known := &inputsBySession{}, &repeats{racy: racyTime}
	controller, sessions, err := newController(ctx, c.Root, forClients(&sharingWorker{worker, backend}, c.Store), backend.Hosts, builds)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open build controller: %w", err), worker.Close())
	}
	conn, err := connect(ctx, controller, sessions)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to build controller: %w", err), controller.Close())
	}
	b := &Builder{
		root: c.Root, store: c.Store, backend: backend, worker: worker, controller: controller, conn: conn,
		gc: startCollector(ctx, worker, held, known.forget), records: records, leases: held, steps: steps, repeats: known, builds: builds, bodies: bodies, maxEntries: maxEntries,
	}
	b.rester = startRester(ctx, records, &b.gc.builds, c.Rested)
	b.clients = b.newClients(ctx)
	return b, nil
}

// Close ends the builder. Builds that still run fail; it returns when nothing of their steps is left.
func (b *Builder) Close() error {
	b.gc.stop()
	b.clients.Close()
	err := b.conn.close()
	b.steps.all.Wait()
	return errors.Join(err, b.rester.stop(), b.controller.Close(), endUnsynced(b.root))
}

// building marks the begin of a build, the function that it returns the end.
func (b *Builder) building() (end func()) {
	built := b.gc.building()
	return func() {
		built()
		b.rester.buildEnded()
	}
}

// Result is what a build has made.
type Result struct {
	image.Image // the zero value when nothing was stored

	// Metadata is what the exporters say, by BuildKit's names: "containerimage.digest"
	// and others (docker build --metadata-file).
	Metadata map[string]string
}

// Build makes what the request describes: the image, with the request's tags, and
// its other outputs. Progress goes to status, when that is not nil, and status is
// closed before Build returns, as progressui wants it; it must be drained.
//
// A failed step is an *Error, which shows the Dockerfile's lines and the step's
// output. When ctx ends, running steps are killed.
func (b *Builder) Build(ctx context.Context, r Request, status chan<- *client.SolveStatus) (_ Result, err error) {
	defer b.building()()
	defer b.store.Begin()()
	progress := b.follow(ctx, r, status)
	defer progress.close()
	solve, files, err := b.solveOptions(ctx, r)
	if err != nil {
		progress.nothing()
		return Result{}, err
	}
	defer func() { err = finish(files, err) }()
	attempt := b.attempt(r, &solve)
	if before, ok := attempt.answer(ctx); ok {
		progress.nothing()
		progress.send(ctx, before.shown.replay(time.Now()))
		return before.again(), nil
	}
	result, err := b.solve(ctx, r, solve, attempt, progress)
	if err != nil {
		return Result{}, err
	}
	attempt.keep(ctx, result)
	return result, b.push(ctx, r, progress)
}

// solve has BuildKit build.
func (b *Builder) solve(ctx context.Context, r Request, solve client.SolveOpt, a *attempt, progress *progress) (Result, error) {
	many, spared := spareMemory()
	defer spared()
	for _, source := range solve.LocalMounts {
		if f, ok := source.(*watchedFolder); ok {
			f.many, f.max = many, b.maxEntries
		}
	}
	end, err := b.conn.openSession(ctx, &solve)
	if err != nil {
		progress.nothing()
		return Result{}, err
	}
	defer end()
	if a != nil {
		defer b.builds.begin(solve.SharedSession.ID(), a.inputs)()
		progress.shown = a.shown
	}
	response, err := b.conn.client.Solve(ctx, nil, solve, progress.events)
	progress.wait()
	if err != nil {
		return Result{}, b.store.Room(progress.explain(ctx, err), 0)
	}
	result := Result{Metadata: response.ExporterResponse}
	if !slices.ContainsFunc(r.outputs(), Output.stored) {
		return result, nil
	}
	if result.Image, err = record(ctx, b.store, r.names(), response.ExporterResponse); err != nil {
		return Result{}, err
	}
	result.Metadata["image.name"] = strings.Join(fullNames(r), ",")
	return result, nil
}

// record names the result. The exporter stored it without a name, because it names
// before it unpacks.
func record(ctx context.Context, store *image.Store, tags []string, answer map[string]string) (image.Image, error) {
	stored := digest.Digest(answer[exptypes.ExporterImageDigestKey])
	built, err := store.Get(ctx, answer[exptypes.ExporterImageConfigDigestKey])
	if err != nil || built.Digest != stored { // with attestations it is an index, which has no ID of its own
		built, err = store.ByDigest(ctx, stored)
	}
	if err != nil {
		return image.Image{}, fmt.Errorf("find the built image: %w", err)
	}
	if err := store.Name(ctx, built, tags...); err != nil {
		return image.Image{}, err
	}
	if _, err := store.Lower(ctx, built); err != nil {
		return image.Image{}, err
	}
	return store.Get(ctx, built.ID)
}
