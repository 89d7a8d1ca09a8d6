package image

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	bolt "go.etcd.io/bbolt"
)

// layers compares the records of unpacked layers with the snapshotter's and with the folders.
func (v *verification) layers(ctx context.Context) error {
	keys, err := v.s.layerKeys()
	if err != nil {
		return err
	}
	known, _, err := v.s.folders(ctx)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		info, ok := known[keys[key]]
		problem := "layer is not known to the folders' database"
		if ok {
			folder := info.Labels[labelUpperdir]
			if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			problem = "layer's folder " + filepath.Dir(folder) + " is missing"
		}
		if gone, err := v.changed(ctx, key, keys[key], ok); gone || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		v.faults = append(v.faults, v.lostLayer(ctx, key, problem))
	}
	return nil
}

// changed tells whether a layer that seems to be lost was only being changed: its record is written after its folder.
func (v *verification) changed(ctx context.Context, key, name string, known bool) (bool, error) {
	if err := v.s.database.Update(func(*bolt.Tx) error { return nil }); err != nil { // whoever writes has done so now
		return false, err
	}
	keys, err := v.s.layerKeys()
	if err != nil || keys[key] != name {
		return true, err
	}
	_, err = v.s.layers.Stat(ctx, name)
	return errdefs.IsNotFound(err) == known, nil
}

func (v *verification) lostLayer(ctx context.Context, key, problem string) Fault {
	users := v.layerUsers(ctx, key)
	f := Fault{Kind: FaultLayer, Object: key, Problem: problem, Remedy: "forget it, and what stands on it: an image's layers are unpacked again when they are needed"}
	if names := namesOf(users); len(names) > 0 {
		f.Problem += ": " + strings.Join(names, ", ")
		if slices.ContainsFunc(users, func(i Image) bool { return v.needed != nil && v.needed(i.ID) }) {
			f.Hint = "restart the containers of " + strings.Join(names, ", ")
		}
	}
	f.Repair = func(ctx context.Context) error { return v.s.dropLayer(scope(ctx), key) }
	return f
}

// layerUsers are the images that have a layer.
func (v *verification) layerUsers(ctx context.Context, key string) (users []Image) {
	list, err := v.s.List(ctx)
	if err != nil {
		return nil // the fault is told without them
	}
	for _, image := range list {
		if slices.Contains(identity.ChainIDs(slices.Clone(image.Layers)), digest.Digest(key)) {
			users = append(users, image)
		}
	}
	return users
}

// dropLayer forgets a layer and all that stand on it.
func (s *Store) dropLayer(ctx context.Context, key string) error {
	parents := map[string]string{}
	err := s.database.View(func(tx *bolt.Tx) error {
		b := bucket(tx, "snapshots", snapshotterName)
		if b == nil {
			return nil
		}
		return b.ForEachBucket(func(k []byte) error {
			parents[string(k)] = string(b.Bucket(k).Get([]byte("parent")))
			return nil
		})
	})
	if err != nil {
		return err
	}
	gone := []string{key}
	for i := 0; i < len(gone); i++ {
		for child, parent := range parents {
			if parent == gone[i] {
				gone = append(gone, child)
			}
		}
	}
	if err := s.dropRecords(ctx, gone); err != nil {
		return err
	}
	s.catalog.forget()
	return nil
}
