package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
)

// User is a container that needs an image.
type User struct {
	ID, Name string
	Running  bool
}

// RemoveOptions of Remove.
type RemoveOptions struct {
	Force bool // also by ID with several names, also when a container that does not run needs it
	// NoPrune leaves alone the images without a name that the image was made from.
	NoPrune bool
	// Spare leaves alone what an operation that goes on has recorded, see Begin: for those who remove what is unused.
	Spare bool
	// InUse tells which container needs an image, one that runs first; nil: none does. The answer holds until the image is
	// removed, if whoever begins to need an image does it within Use.
	InUse func(id string) (User, bool)
}

// Removal is a line of what Remove did: one of the fields is set.
type Removal struct {
	Untagged string // familiar name, or name with digest when it was the repository's last one
	Deleted  string // image ID
}

// Use finds an image, as Get does, and calls hold before anybody can remove it.
func (s *Store) Use(ctx context.Context, ref string, hold func(Image)) (Image, error) {
	s.work.recording.RLock()
	defer s.work.recording.RUnlock()
	image, err := s.Get(ctx, ref)
	if err == nil {
		hold(image)
	}
	return image, err
}

// Remove removes a name, and with the last name the image; by ID it removes all names, if there is one only or with Force.
// It returns what docker prints: names first, then the ID.
//
// An image that a container needs is not removed (ErrInUse, in docker's words). With Force it loses its names and stays as
// a dangling image, with all its layers; by ID not even that while a container runs. Disk space is freed by GarbageCollect.
func (s *Store) Remove(ctx context.Context, ref string, o RemoveOptions) ([]Removal, error) {
	s.work.recording.Lock()
	defer s.work.recording.Unlock()
	l, err := s.listing(ctx)
	if err != nil {
		return nil, err
	}
	image, err := l.find(ref)
	if err != nil {
		return nil, err
	}
	r := removal{image: image, names: l.recordsOf(image)}
	if o.Spare && s.work.needs(r.names) {
		return nil, fmt.Errorf("%w: %s was made by an operation that has not ended yet", ErrInUse, ref)
	}
	user, used := User{}, false
	if o.InUse != nil {
		user, used = o.InUse(image.ID)
	}
	name, err := Normalize(ref)
	if err == nil && l.byName[name] == image && !isDangling(name) {
		if others := slices.DeleteFunc(slices.Clone(r.names), func(n string) bool { return n == name || isDangling(n) }); len(others) > 0 {
			r.names = []string{name}
			return s.remove(ctx, r)
		}
		if used && !o.Force {
			return nil, fmt.Errorf("%w: unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
				ErrInUse, ref, user, short(image.ID))
		}
	} else if err := refuseByID(image, user, used, o.Force); err != nil {
		return nil, err
	}
	r.deleted = !used
	if used {
		r.keep = &images.Image{Target: image.target, Labels: image.labels}
	}
	gone, err := s.remove(ctx, r)
	if err != nil || used || o.NoPrune {
		return gone, err
	}
	parents, err := s.removeParents(ctx, image, o)
	return append(gone, parents...), err
}

// refuseByID is why an image is not removed by its ID.
func refuseByID(image *Image, user User, used, force bool) error {
	switch id := short(image.ID); {
	case used && user.Running:
		return fmt.Errorf("%w: unable to delete %s (cannot be forced) - image is being used by running container %s", ErrInUse, id, user)
	case force:
		return nil
	case used:
		return fmt.Errorf("%w: unable to delete %s (must be forced) - image is being used by stopped container %s", ErrInUse, id, user)
	case len(image.Names) > 1:
		return fmt.Errorf("%w: unable to delete %s (must be forced) - image is referenced in multiple repositories: %s", ErrInUse, id, strings.Join(image.Names, ", "))
	}
	return nil
}

// String names the container as docker does, and by its name.
func (u User) String() string {
	id := u.ID[:min(len(u.ID), 12)]
	if u.Name == "" {
		return id
	}
	return id + " (" + u.Name + ")"
}

// short is the 12 digits by which an ID is shown.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

// removal is what goes of an image.
type removal struct {
	image   *Image
	names   []string      // records
	deleted bool          // it is the end of the image
	keep    *images.Image // stays as a dangling image
}

func (s *Store) remove(ctx context.Context, r removal) ([]Removal, error) {
	if err := s.records.remove(ctx, r.names, r.keep); err != nil {
		return nil, fmt.Errorf("remove image %s: %w", r.image.ID, err)
	}
	return r.told(), nil
}

// told is what docker says of it: the names, after a repository's last one what was pulled from there, and the ID.
func (r removal) told() []Removal {
	var list []Removal
	left := slices.DeleteFunc(slices.Clone(r.image.Names), func(n string) bool {
		return slices.ContainsFunc(r.names, func(gone string) bool { return Familiar(gone) == n })
	})
	for _, name := range r.names {
		if isDangling(name) {
			continue
		}
		familiar := Familiar(name)
		list = append(list, Removal{Untagged: familiar})
		repo := repositoryOf(familiar)
		if slices.ContainsFunc(left, func(n string) bool { return repositoryOf(n) == repo }) {
			continue
		}
		for _, d := range r.image.RepoDigests {
			if strings.HasPrefix(d, repo+"@") && d != familiar && !slices.Contains(list, Removal{Untagged: d}) {
				list = append(list, Removal{Untagged: d})
			}
		}
	}
	if r.deleted {
		list = append(list, Removal{Deleted: r.image.ID})
	}
	return list
}

// repositoryOf is a familiar name without tag or digest.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
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
