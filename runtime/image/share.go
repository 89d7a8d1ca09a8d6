package image

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
)

// labelRef on a layer says which chain of layers it is the top of, whatever key it was made under; it is containerd's name
// for it (core/metadata/snapshot.go).
const labelRef = "containerd.io/snapshot.ref"

// labelBuilt on a layer: a build has made it. Its prefix lets containerd hand it on to the snapshotter.
const labelBuilt = "containerd.io/snapshot/tutti.built"

// shareable is a snapshotter that says of a layer which is to be made that it is there already, under another key: one of a
// build's that bears its label and stands on the same layer. containerd's database then gives it the second key, and keeps it for as long
// as either of them is needed.
type shareable struct{ snapshots.Snapshotter }

func (s shareable) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var wanted snapshots.Info
	for _, o := range opts {
		if err := o(&wanted); err != nil {
			return nil, err
		}
	}
	if ref := wanted.Labels[labelRef]; ref != "" {
		found, err := s.find(ctx, ref, parent)
		if err != nil {
			return nil, err
		}
		if found {
			return nil, fmt.Errorf("layer %s: %w", ref, errdefs.ErrAlreadyExists)
		}
	}
	return s.Snapshotter.Prepare(ctx, key, parent, opts...)
}

// find tells whether a layer can be shared: each that containerd may choose must be a build's, and its folder there.
func (s shareable) find(ctx context.Context, ref, parent string) (bool, error) {
	found, fit := false, true
	err := s.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if i.Kind != snapshots.KindCommitted || i.Parent != parent || i.Labels[labelRef] != ref {
			return nil
		}
		found = true
		_, built := i.Labels[labelBuilt]
		_, err := os.Lstat(i.Labels[labelUpperdir])
		fit = fit && built && err == nil
		return nil
	})
	if err != nil && !errdefs.IsNotFound(err) { // there were never any
		return false, fmt.Errorf("look for layer %s: %w", ref, err)
	}
	return found && fit, nil
}

// Cleanup removes folders that belong to nothing.
func (s shareable) Cleanup(ctx context.Context) error {
	if c, ok := s.Snapshotter.(snapshots.Cleaner); ok {
		return c.Cleanup(ctx)
	}
	return errdefs.ErrNotImplemented
}

// share makes the layer under key, which a build has made, the top of a chain of an image's layers, so that it need not be
// unpacked from its content again. below is the chain without it, "" for none. A layer that stands on something else than that
// chain does is linked. The context's lease holds what is recorded.
func (s *Store) share(ctx context.Context, key, below, chain string) error {
	ctx = scope(ctx)
	if _, err := s.snapshots.Stat(ctx, chain); !errdefs.IsNotFound(err) {
		return err
	}
	names, err := s.layerNames(key, below)
	if err != nil {
		return err
	}
	if names[0] == "" || names[1] == "" && below != "" {
		return nil // it is known by its content alone
	}
	layer, err := s.layers.Stat(ctx, names[0])
	if err != nil || layer.Kind != snapshots.KindCommitted {
		return err
	}
	if layer.Parent != names[1] {
		return s.link(ctx, layer, key, below, chain)
	}
	label := snapshots.Info{Name: key, Labels: map[string]string{labelRef: chain, labelBuilt: "yes"}}
	if _, err := s.snapshots.Update(ctx, label, "labels."+labelRef, "labels."+labelBuilt); err != nil {
		return fmt.Errorf("label layer %s: %w", key, err)
	}
	spare := "share-" + rand.Text()
	_, err = s.snapshots.Prepare(ctx, spare, below, snapshots.WithLabels(map[string]string{labelRef: chain}))
	switch {
	case errdefs.IsAlreadyExists(err): // which means that it has both keys now
		return nil
	case err == nil: // there is another one that cannot be shared
		if err = s.snapshots.Remove(ctx, spare); err == nil {
			return s.link(ctx, layer, key, below, chain)
		}
	}
	if err != nil {
		return fmt.Errorf("share layer %s: %w", key, err)
	}
	return nil
}

// layerNames are the snapshotter's own names of layers by key; "" for "" and for what there is not.
func (s *Store) layerNames(keys ...string) (names []string, err error) {
	err = s.database.View(func(tx *bolt.Tx) error {
		b := bucket(tx, "snapshots", snapshotterName)
		for _, key := range keys {
			name := ""
			if b != nil && key != "" {
				if layer := b.Bucket([]byte(key)); layer != nil {
					name = string(layer.Get([]byte("name")))
				}
			}
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up layers: %w", err)
	}
	return names, nil
}

// shared tells which keys have their layer in common with others.
func (s *Store) shared(ctx context.Context) (map[string]bool, error) {
	shared, err := s.linked(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.layerKeys()
	if err != nil {
		return nil, err
	}
	users := map[string]int{}
	for _, name := range keys {
		users[name]++
	}
	for key, name := range keys {
		shared[key] = shared[key] || users[name] > 1
	}
	return shared, nil
}
