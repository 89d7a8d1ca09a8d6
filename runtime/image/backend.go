package image

import (
	"context"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/gc"
)

// Backend is the store as the builder wants it: containerd's interfaces, so that
// what is built lands where pulled images are. Contexts need Namespace, except
// for Images, which adds it.
type Backend struct {
	Namespace       string
	SnapshotterName string
	DanglingPrefix  string // a record name "<DanglingPrefix>@<digest>" is an image without a name
	Content         content.Store
	Snapshotter     snapshots.Snapshotter
	Images          images.Store
	Leases          leases.Manager
	Hosts           docker.RegistryHosts // without credentials
	Applier         func(content.Provider) diff.Applier
	GarbageCollect  func(context.Context) (gc.Stats, error)

	// Share makes a layer of the builder's, under key, the top of a chain of an image's layers, without a copy of what is in it;
	// below is the chain without it, "" for none. Shared tells of which keys of layers the files are also those of others.
	Share  func(ctx context.Context, key, below, chain string) error
	Shared func(context.Context) (map[string]bool, error)
}

// Backend gives access to the parts of the store. They must not be used after Close.
func (s *Store) Backend() Backend {
	return Backend{
		Namespace:       namespace,
		SnapshotterName: snapshotterName,
		DanglingPrefix:  danglingPrefix[:len(danglingPrefix)-1],
		Content:         s.content,
		Snapshotter:     s.snapshots,
		Images:          s.records,
		Leases:          s.leases,
		Hosts:           s.clients.Hosts(nil),
		Applier:         func(p content.Provider) diff.Applier { return &applier{content: p, root: s.root, limits: &s.limits} },
		GarbageCollect:  s.collect,
		Share:           s.share,
		Shared:          s.shared,
	}
}
