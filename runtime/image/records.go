package image

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

// records is the table of names: images.Store for containerd's transfer service
// and for BuildKit, which know nothing of namespaces, dangling images and caches.
//
// A name that moves to another target leaves a dangling record behind in the same
// transaction, unless the old target has further names. A dangling record is not
// written for a target that has a name, and goes when its target gets one. What
// would change nothing is not written at all.
type records struct {
	db      *metadata.DB
	images  images.Store
	changed func()
	work    *work
}

func (r *records) Get(ctx context.Context, name string) (images.Image, error) {
	return r.images.Get(scope(ctx), name)
}

func (r *records) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return r.images.List(scope(ctx), filters...)
}

// Create adds a name; errdefs.ErrAlreadyExists when it is taken.
func (r *records) Create(ctx context.Context, image images.Image) (images.Image, error) {
	ctx = scope(ctx)
	defer r.touching(image.Name)()
	if isDangling(image.Name) {
		if named, err := r.namesOf(ctx, image.Target.Digest); err != nil || len(named) > 0 {
			r.work.touch(named...)
			return image, err
		}
	}
	err := r.transact(ctx, func(ctx context.Context) (err error) {
		if image, err = r.images.Create(ctx, image); err != nil {
			return err
		}
		return r.dropDangling(ctx, image)
	})
	return image, err
}

// Update points a name to another target; errdefs.ErrNotFound when there is no such
// name. The record is replaced whole, whichever fields are asked for.
func (r *records) Update(ctx context.Context, image images.Image, _ ...string) (images.Image, error) {
	ctx = scope(ctx)
	defer r.touching(image.Name)()
	old, err := r.images.Get(ctx, image.Name)
	if err != nil {
		if !errdefs.IsNotFound(err) || !isDangling(image.Name) {
			return images.Image{}, err
		}
		named, listErr := r.namesOf(ctx, image.Target.Digest)
		if listErr != nil || len(named) == 0 {
			return images.Image{}, errors.Join(listErr, err)
		}
		r.work.touch(named...)
		return image, nil
	}
	if same(old, image) {
		return old, nil
	}
	err = r.transact(ctx, func(ctx context.Context) (err error) {
		image, err = r.move(ctx, image)
		return err
	})
	return image, err
}

// Delete removes a name; what nothing refers to any more goes with the next collection.
func (r *records) Delete(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	ctx = scope(ctx)
	return r.transact(ctx, func(ctx context.Context) error { return r.images.Delete(ctx, name, opts...) })
}

// put creates or moves names, all in one transaction.
func (r *records) put(ctx context.Context, wanted []images.Image) error {
	ctx = scope(ctx)
	names := make([]string, 0, len(wanted))
	for _, image := range wanted {
		names = append(names, image.Name)
	}
	defer r.touching(names...)()
	var changes []images.Image
	for _, image := range wanted {
		old, err := r.images.Get(ctx, image.Name)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err != nil || !same(old, image) {
			changes = append(changes, image)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return r.transact(ctx, func(ctx context.Context) error {
		for _, image := range changes {
			_, err := r.move(ctx, image)
			if errdefs.IsNotFound(err) {
				if _, err = r.images.Create(ctx, image); err == nil {
					err = r.dropDangling(ctx, image)
				}
			}
			if err != nil {
				return fmt.Errorf("record image %s: %w", Familiar(image.Name), err)
			}
		}
		return nil
	})
}

// move points an existing name to another target, within a transaction.
func (r *records) move(ctx context.Context, image images.Image) (images.Image, error) {
	old, err := r.images.Get(ctx, image.Name)
	if err != nil {
		return images.Image{}, err
	}
	if err := r.keepDangling(ctx, old, image.Target.Digest); err != nil {
		return images.Image{}, err
	}
	if image, err = r.images.Update(ctx, image); err != nil {
		return images.Image{}, err
	}
	return image, r.dropDangling(ctx, image)
}

// same tells whether writing b over a would change nothing.
func same(a, b images.Image) bool {
	return a.Target.Digest == b.Target.Digest && maps.Equal(a.Labels, b.Labels)
}

// remove deletes names and may turn the image into a dangling one, all in one transaction.
func (r *records) remove(ctx context.Context, names []string, keep *images.Image) error {
	return r.transact(scope(ctx), func(ctx context.Context) error {
		for _, name := range names {
			if err := r.images.Delete(ctx, name); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		if keep == nil {
			return nil
		}
		dangling := images.Image{Name: danglingName(keep.Target.Digest), Target: keep.Target, Labels: keep.Labels}
		if _, err := r.images.Create(ctx, dangling); err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
}

// keepDangling records the old target of a name that is about to move, when no other name has it.
func (r *records) keepDangling(ctx context.Context, old images.Image, next digest.Digest) error {
	if old.Target.Digest == next {
		return nil
	}
	named, err := r.namesOf(ctx, old.Target.Digest)
	if err != nil || len(named) > 1 {
		return err
	}
	dangling := images.Image{Name: danglingName(old.Target.Digest), Target: old.Target, Labels: old.Labels}
	if _, err := r.images.Create(ctx, dangling); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keep image %s: %w", old.Target.Digest, err)
	}
	return nil
}

// dropDangling removes the dangling record of a target that has a name now.
func (r *records) dropDangling(ctx context.Context, image images.Image) error {
	if isDangling(image.Name) {
		return nil
	}
	err := r.images.Delete(ctx, danglingName(image.Target.Digest))
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove dangling record of %s: %w", image.Target.Digest, err)
	}
	return nil
}

// namesOf lists the real names of a target.
func (r *records) namesOf(ctx context.Context, target digest.Digest) ([]string, error) {
	list, err := r.images.List(ctx, "target.digest=="+target.String())
	if err != nil {
		return nil, fmt.Errorf("list names of %s: %w", target, err)
	}
	var names []string
	for _, image := range list {
		if !isDangling(image.Name) {
			names = append(names, image.Name)
		}
	}
	return names, nil
}

// touching holds off removals of what is unused until done, and lets them know afterwards that the names are wanted.
func (r *records) touching(names ...string) (done func()) {
	r.work.recording.RLock()
	r.work.touch(names...)
	return r.work.recording.RUnlock
}

// transact runs f in one write transaction and tells the cache when it is committed.
func (r *records) transact(ctx context.Context, f func(context.Context) error) error {
	err := r.db.Update(func(tx *bolt.Tx) error { return f(boltutil.WithTransaction(ctx, tx)) })
	if err != nil {
		return err
	}
	r.changed()
	return nil
}
