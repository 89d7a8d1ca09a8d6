package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

// Kinds of faults.
const (
	FaultBlob        = "blob"         // content is lost, or not what its digest says
	FaultUnknownBlob = "unknown-blob" // content that no database knows
	FaultLayer       = "layer"        // an unpacked layer is lost, or half known
	FaultUnknown     = "unknown-layer"
	FaultImage       = "image" // a name without what it names
	FaultLease       = "lease" // a hold on content that has expired
)

// Fault is something in the store that is not as it should be.
type Fault struct {
	Kind    string
	Object  string // digest, path, name or key
	Problem string // what is wrong with it
	Remedy  string // what Repair does about it
	Hint    string // what is left for people to do after it; may be empty
	Repair  func(context.Context) error
}

// grace is how old something must be that no database knows: operations make folders and files first, and write down
// what they have made then.
const grace = time.Minute

// settled tells whether what was made at a time should be known by now.
func (s *Store) settled(at time.Time) bool { return at.Before(s.opened) || time.Since(at) > grace }

// blobPath is the file of a blob.
func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.root, "content", "blobs", d.Algorithm().String(), d.Encoded())
}

// unknownContent finds files of blobs that have no record.
func (s *Store) unknownContent(ctx context.Context) ([]Fault, error) {
	var present []content.Info
	err := s.blobs.Walk(ctx, func(i content.Info) error {
		present = append(present, i)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the content: %w", err)
	}
	var faults []Fault
	for _, i := range present {
		if _, err := s.content.Info(ctx, i.Digest); !errdefs.IsNotFound(err) {
			if err != nil {
				return nil, fmt.Errorf("look up content %s: %w", i.Digest, err)
			}
			continue
		}
		if !s.settled(i.CreatedAt) || s.knownElsewhere(i.Digest) {
			continue
		}
		faults = append(faults, Fault{
			Kind: FaultUnknownBlob, Object: i.Digest.String(), Problem: "content that nobody knows", Remedy: "remove the file",
			Repair: func(context.Context) error { return s.dropUnknownBlob(i.Digest) },
		})
	}
	return faults, nil
}

// dropUnknownBlob removes a blob's file, unless it is known by now. Files get their place within a transaction that
// writes: while another one goes on none does.
func (s *Store) dropUnknownBlob(d digest.Digest) error {
	return s.database.Update(func(tx *bolt.Tx) error {
		if known(tx, d) || expected(tx, d) {
			return nil
		}
		if err := os.Remove(s.blobPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// knownElsewhere tells whether a blob belongs to another namespace: the history of builds has its own.
func (s *Store) knownElsewhere(d digest.Digest) bool {
	found := false
	_ = s.database.View(func(tx *bolt.Tx) error { // the function gives no error
		found = known(tx, d)
		return nil
	})
	return found
}

// known tells whether any namespace has a blob.
func known(tx *bolt.Tx, d digest.Digest) bool {
	all := tx.Bucket([]byte("v1"))
	if all == nil {
		return false
	}
	found := false
	_ = all.ForEachBucket(func(ns []byte) error { // the function gives no error
		b := all.Bucket(ns)
		for _, key := range []string{"content", "blob", d.String()} {
			if b != nil {
				b = b.Bucket([]byte(key))
			}
		}
		found = found || b != nil
		return nil
	})
	return found
}

// bucket finds a bucket of the store's namespace; containerd's core/metadata/buckets.go describes them.
func bucket(tx *bolt.Tx, keys ...string) *bolt.Bucket {
	b := tx.Bucket([]byte("v1"))
	for _, key := range append([]string{namespace}, keys...) {
		if b == nil {
			return nil
		}
		b = b.Bucket([]byte(key))
	}
	return b
}

// expected tells whether somebody is about to take over a blob that is there.
func expected(tx *bolt.Tx, d digest.Digest) bool {
	ingests := bucket(tx, "content", "ingests")
	if ingests == nil {
		return false
	}
	found := false
	_ = ingests.ForEachBucket(func(ref []byte) error { // the function gives no error
		found = found || string(ingests.Bucket(ref).Get([]byte("expected"))) == d.String()
		return nil
	})
	return found
}

// layerKeys maps the keys of the database of names to those of the database of folders.
func (s *Store) layerKeys() (map[string]string, error) {
	keys := map[string]string{}
	err := s.database.View(func(tx *bolt.Tx) error {
		b := bucket(tx, "snapshots", snapshotterName)
		if b == nil {
			return nil
		}
		return b.ForEachBucket(func(key []byte) error {
			keys[string(key)] = string(b.Bucket(key).Get([]byte("name")))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list layers: %w", err)
	}
	return keys, nil
}

// folders are the snapshotter's own records by key, and by folder.
func (s *Store) folders(ctx context.Context) (byKey map[string]snapshots.Info, byFolder map[string]string, err error) {
	byKey, byFolder = map[string]snapshots.Info{}, map[string]string{}
	err = s.layers.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		byKey[i.Name] = i
		byFolder[filepath.Base(filepath.Dir(i.Labels[labelUpperdir]))] = i.Name
		return nil
	})
	if err != nil && !errdefs.IsNotFound(err) { // there were never any
		return nil, nil, fmt.Errorf("list layer folders: %w", err)
	}
	return byKey, byFolder, nil
}

// lostRecords are the keys of layers that the snapshotter does not know.
func (s *Store) lostRecords(ctx context.Context) ([]string, error) {
	keys, err := s.layerKeys()
	if err != nil {
		return nil, err
	}
	known, _, err := s.folders(ctx)
	if err != nil {
		return nil, err
	}
	var lost []string
	for key, name := range keys {
		if _, ok := known[name]; !ok {
			lost = append(lost, key)
		}
	}
	return lost, nil
}

// unknownLayers finds layers of the snapshotter's that have no record, and folders that have neither.
func (s *Store) unknownLayers(ctx context.Context) ([]Fault, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, "snapshots")) // before the databases: what comes later is known there
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list layer folders: %w", err)
	}
	known, byFolder, err := s.folders(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.layerKeys()
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, name := range keys {
		named[name] = true
	}
	var faults []Fault
	for name, i := range known {
		if !named[name] && s.settled(i.Created) {
			faults = append(faults, Fault{
				Kind: FaultUnknown, Object: name, Problem: "layer that nobody knows", Remedy: "remove it",
				Repair: func(ctx context.Context) error { return s.dropUnknownLayer(ctx, name) },
			})
		}
	}
	for _, e := range entries {
		info, err := e.Info()
		if byFolder[e.Name()] != "" || err != nil || !s.settled(info.ModTime()) {
			continue
		}
		path := filepath.Join(s.root, "snapshots", e.Name())
		faults = append(faults, Fault{
			Kind: FaultUnknown, Object: path, Problem: "folder of a layer that nobody knows", Remedy: "remove it",
			Repair: func(ctx context.Context) error { return s.cleanFolders(ctx) },
		})
	}
	return faults, nil
}

// dropUnknownLayer removes a layer that has no record, and what stands on it: that has none either.
func (s *Store) dropUnknownLayer(ctx context.Context, name string) error {
	var above []string
	err := s.layers.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if i.Parent == name {
			above = append(above, i.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	keys, err := s.layerKeys()
	if err != nil {
		return err
	}
	for _, child := range above {
		for _, known := range keys {
			if known == child {
				return fmt.Errorf("layer %s stands on it", child)
			}
		}
		if err := s.dropUnknownLayer(ctx, child); err != nil {
			return err
		}
	}
	if err := s.layers.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return s.cleanFolders(ctx)
}

// cleanFolders removes the folders that the snapshotter has no record of.
func (s *Store) cleanFolders(ctx context.Context) error {
	cleaner, ok := s.layers.(snapshots.Cleaner)
	if !ok {
		return nil
	}
	err := cleaner.Cleanup(ctx)
	if !errdefs.IsNotFound(err) {
		return err
	}
	// It has never had a record, and does not look.
	entries, err := os.ReadDir(filepath.Join(s.root, "snapshots"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && s.settled(info.ModTime()) {
			if err := os.RemoveAll(filepath.Join(s.root, "snapshots", e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
