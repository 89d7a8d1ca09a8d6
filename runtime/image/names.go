package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
)

// Tag gives an image a further name; a name that exists is moved.
func (s *Store) Tag(ctx context.Context, ref, name string) error {
	image, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	return s.Name(ctx, image, name)
}

// Name is Tag for several names at once: all of them or, after an error, none.
func (s *Store) Name(ctx context.Context, image Image, names ...string) error {
	var wanted []images.Image
	for _, name := range names {
		full, err := Normalize(name)
		if err != nil {
			return err
		}
		if strings.Contains(full, "@") {
			return fmt.Errorf("invalid image name %q: a tag cannot have a digest", name)
		}
		wanted = append(wanted, images.Image{Name: full, Target: image.target, Labels: image.labels})
	}
	if err := s.records.put(ctx, wanted); err != nil {
		return fmt.Errorf("tag image %s: %w", image.ID, err)
	}
	return nil
}

// RemoveOptions of Remove.
type RemoveOptions struct {
	Force bool                 // also by ID with several names, also when in use
	InUse func(id string) bool // tells whether a container needs the image; nil: none does
}

// Removal is a line of what Remove did: one of the fields is set.
type Removal struct {
	Untagged string // familiar name
	Deleted  string // image ID
}

// Remove removes a name, and with the last name the image; by ID it removes all
// names. It returns what docker prints: names first, then the ID.
//
// An image that a container needs is not removed (ErrInUse). With Force it loses
// its names and stays as a dangling image, with all its layers. Disk space is
// freed by GarbageCollect.
func (s *Store) Remove(ctx context.Context, ref string, o RemoveOptions) ([]Removal, error) {
	l, err := s.listing(ctx)
	if err != nil {
		return nil, err
	}
	image, err := l.find(ref)
	if err != nil {
		return nil, err
	}
	names := l.recordsOf(image)
	if name, err := Normalize(ref); err == nil && l.byName[name] == image {
		if others := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name || isDangling(n) }); len(others) > 0 {
			return s.remove(ctx, image, []string{name}, false, nil)
		}
	} else if len(image.Names) > 1 && !o.Force {
		return nil, fmt.Errorf("%w: %s has several names (%s), force the removal", ErrInUse, ref, strings.Join(image.Names, ", "))
	}
	if o.InUse == nil || !o.InUse(image.ID) {
		return s.remove(ctx, image, names, true, nil)
	}
	if !o.Force {
		return nil, fmt.Errorf("%w: a container uses %s", ErrInUse, ref)
	}
	return s.remove(ctx, image, names, false, &images.Image{Target: image.target, Labels: image.labels})
}

// remove deletes records of an image and says so; keep stays as a dangling image.
func (s *Store) remove(ctx context.Context, image *Image, names []string, deleted bool, keep *images.Image) ([]Removal, error) {
	if err := s.records.remove(ctx, names, keep); err != nil {
		return nil, fmt.Errorf("remove image %s: %w", image.ID, err)
	}
	return removals(names, image.ID, deleted), nil
}

// recordsOf lists the full names of all records of an image.
func (l *listing) recordsOf(image *Image) []string {
	var names []string
	for name, other := range l.byName {
		if other == image {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func removals(names []string, id string, deleted bool) []Removal {
	var list []Removal
	for _, name := range names {
		if !isDangling(name) {
			list = append(list, Removal{Untagged: Familiar(name)})
		}
	}
	if deleted {
		list = append(list, Removal{Deleted: id})
	}
	return list
}
