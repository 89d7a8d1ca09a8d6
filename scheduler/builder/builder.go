// Package builder is an engine's way to BuildKit: it is opened when it is needed first, and its RUN steps get a network of
// their own.
package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/buildkit/client"

	"tutti/netdriver"
	"tutti/runtime"
	"tutti/runtime/build"
	"tutti/runtime/image"
)

// Config is where a builder works, and what it works with.
type Config struct {
	Root      string // the folder of the build cache
	StateRoot string // the engine's, which tells its network from those of other engines
	Store     *image.Store
	Runtime   *runtime.Runtime
	Net       *netdriver.Driver
	Busy      func() (end func()) // tells the engine that something goes on, until end
	Rested    func()              // tells the engine that memory was let go of
	Log       *slog.Logger
}

// Builder builds images, for as long as an engine lives.
type Builder struct {
	ctx     context.Context //nolint:containedctx // the engine's life: networks are removed after a request is over
	config  Config
	network network

	mu   sync.Mutex
	open *build.Builder // nil until somebody builds
}

// New returns a builder; nothing is opened yet.
func New(ctx context.Context, c Config) *Builder { return &Builder{ctx: ctx, config: c} }

// Open opens BuildKit at its first use; it stays open for the next build.
func (b *Builder) Open() (*build.Builder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil {
		return b.open, nil
	}
	opened, err := build.New(b.ctx, build.Config{Root: b.config.Root, Store: b.config.Store, Runtime: b.config.Runtime, Network: b.stepNetwork, Rested: b.config.Rested})
	if err != nil {
		return nil, fmt.Errorf("open the builder: %w", err)
	}
	b.open = opened
	return opened, nil
}

// IsOpen tells whether BuildKit is open.
func (b *Builder) IsOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open != nil
}

// OpenIfAny opens BuildKit if there is a build cache; otherwise it returns nil.
func (b *Builder) OpenIfAny() (*build.Builder, error) {
	if _, err := os.Stat(filepath.Join(b.config.Root, "cache.db")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no cache is an answer
	}
	return b.Open()
}

// Build builds and hands the progress to show, from one goroutine at a time.
func (b *Builder) Build(ctx context.Context, q build.Request, show func(*client.SolveStatus)) (build.Result, error) {
	opened, err := b.Open()
	if err != nil {
		return build.Result{}, err
	}
	defer b.use()()
	status := make(chan *client.SolveStatus)
	var wg sync.WaitGroup
	wg.Go(func() {
		for s := range status {
			show(s)
		}
	})
	result, err := opened.Build(ctx, q, status)
	wg.Wait()
	return result, err
}

// Check lints what would be built.
func (b *Builder) Check(ctx context.Context, q build.Request) (build.Findings, error) {
	opened, err := b.Open()
	if err != nil {
		return build.Findings{}, err
	}
	return opened.Check(ctx, q, nil)
}

// Usage lists the records of the build cache, nothing when there was never a build.
func (b *Builder) Usage(ctx context.Context) ([]*client.UsageInfo, error) {
	opened, err := b.OpenIfAny()
	if opened == nil {
		return nil, err
	}
	return opened.Usage(ctx)
}

// Prune removes records of the build cache that no build needs, and returns them.
func (b *Builder) Prune(ctx context.Context, what client.PruneInfo) ([]client.UsageInfo, error) {
	opened, err := b.OpenIfAny()
	if opened == nil {
		return nil, err
	}
	return opened.Prune(ctx, what)
}

// Close closes BuildKit if it is open.
func (b *Builder) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		return nil
	}
	err := b.open.Close()
	b.open = nil
	return err
}
