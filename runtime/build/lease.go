package build

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/opencontainers/go-digest"
)

const (
	sharedLease = "tutti-builds"
	// leaseTime bounds what a builder that died keeps, when none is opened after it.
	leaseTime = 24 * time.Hour

	labelTemporary = "buildkit/lease.temporary"
	labelExpire    = "containerd.io/gc.expire"
)

// buildLeases is the image store's lease manager with one lease in place of the
// short-lived ones that BuildKit makes several times in each build, and fills with
// the same content each time: those transactions were most of a cached build's time.
//
// What builds have used stays until reset, which the collector calls between builds.
// BuildKit removes the lease when a worker is opened, like all temporary ones.
type buildLeases struct {
	leases.Manager
	namespace string

	mu   sync.Mutex
	held map[leases.Resource]bool // what the shared lease is known to hold
}

func newBuildLeases(m leases.Manager, namespace string) *buildLeases {
	return &buildLeases{Manager: m, namespace: namespace, held: map[leases.Resource]bool{}}
}

// reset lets go of everything that builds have used. No build may be running.
func (b *buildLeases) reset(ctx context.Context) error {
	ctx = namespaces.WithNamespace(ctx, b.namespace)
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.held)
	if err := b.Manager.Delete(ctx, leases.Lease{ID: sharedLease}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete lease of builds: %w", err)
	}
	_, err := b.Manager.Create(ctx, leases.WithID(sharedLease), leases.WithExpiration(leaseTime), leaseutil.MakeTemporary)
	if err != nil {
		return fmt.Errorf("create lease of builds: %w", err)
	}
	return nil
}

// ours tells whether ctx is for the namespace of builds. The history of builds has another one.
func (b *buildLeases) ours(ctx context.Context) bool {
	ns, ok := namespaces.Namespace(ctx)
	return ok && ns == b.namespace
}

// Create makes a lease, or gives the shared one when a temporary one is asked for. A
// temporary lease within another one is real: BuildKit looks what it holds at its end
// (leaseutil.LeaseRef.Adopt).
func (b *buildLeases) Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error) {
	if _, within := leases.FromContext(ctx); within || !b.ours(ctx) {
		return b.Manager.Create(ctx, opts...)
	}
	var wanted leases.Lease
	for _, o := range opts {
		if err := o(&wanted); err != nil {
			return leases.Lease{}, err
		}
	}
	if wanted.Labels[labelTemporary] != "" && wanted.Labels[labelExpire] != "" {
		return leases.Lease{ID: sharedLease, CreatedAt: time.Now(), Labels: wanted.Labels}, nil
	}
	return b.Manager.Create(ctx, opts...)
}

// Delete deletes a lease; the shared one stays for other builds.
func (b *buildLeases) Delete(ctx context.Context, l leases.Lease, opts ...leases.DeleteOpt) error {
	if l.ID == sharedLease {
		return nil
	}
	return b.Manager.Delete(ctx, l, opts...)
}

// AddResource keeps a resource; one that the shared lease has is not written again.
func (b *buildLeases) AddResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	if l.ID == sharedLease && b.has(r) {
		return nil
	}
	if err := b.Manager.AddResource(ctx, l, r); err != nil {
		return err
	}
	if l.ID == sharedLease {
		b.remember(r)
	}
	return nil
}

// DeleteResource lets go of a resource, but not for other builds.
func (b *buildLeases) DeleteResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	if l.ID == sharedLease {
		return nil
	}
	return b.Manager.DeleteResource(ctx, l, r)
}

func (b *buildLeases) has(r leases.Resource) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[r]
}

func (b *buildLeases) remember(r leases.Resource) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[r] = true
}

func blobResource(d digest.Digest) leases.Resource {
	return leases.Resource{ID: d.String(), Type: "content"}
}

// isShared tells whether what is written with ctx goes to the shared lease.
func isShared(ctx context.Context) bool {
	id, ok := leases.FromContext(ctx)
	return ok && id == sharedLease
}
