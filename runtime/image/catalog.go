package image

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/reference"
)

// catalog caches all images, so that looking one up touches neither the database
// nor a file. Every change of a name throws the listing away; the descriptions of
// targets that stay are used again.
type catalog struct {
	version atomic.Uint64 // counts changes
	current atomic.Pointer[listing]

	loading sync.Mutex // one goroutine reads the database at a time
}

// listing is an immutable view of the store.
type listing struct {
	version uint64
	byName  map[string]*Image // by full name
	byID    map[string]*Image
	images  []*Image // newest first
	targets map[string]Image
	pulled  map[string]time.Time // by full name
	lower   sync.Map             // chain ID → []string, see Store.Lower
}

func (c *catalog) invalidate() { c.version.Add(1) }

// forget makes the next look-up read everything anew.
func (c *catalog) forget() { c.current.Store(nil) }

// listing returns the present images, from memory when nothing has changed.
func (s *Store) listing(ctx context.Context) (*listing, error) {
	c := &s.catalog
	if l := c.current.Load(); l != nil && l.version == c.version.Load() {
		return l, nil
	}
	c.loading.Lock()
	defer c.loading.Unlock()
	old, version := c.current.Load(), c.version.Load()
	if old != nil && old.version == version {
		return old, nil
	}
	l, err := s.load(ctx, old)
	if err != nil {
		return nil, err
	}
	l.version = version
	c.current.Store(l)
	return l, nil
}

// load reads the names and describes the targets that are new since old.
func (s *Store) load(ctx context.Context, old *listing) (*listing, error) {
	records, err := s.records.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	l := &listing{byName: map[string]*Image{}, byID: map[string]*Image{}, targets: map[string]Image{}, pulled: map[string]time.Time{}}
	for _, record := range records {
		key := record.Target.Digest.String() + " " + record.Labels[labelPlatform]
		described, known := l.targets[key]
		if !known && old != nil {
			described, known = old.targets[key]
		}
		if !known {
			if described, err = s.describe(ctx, record); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				slog.WarnContext(ctx, "image is not readable", "image", record.Name, "error", err)
				continue
			}
		}
		l.targets[key] = described
		l.add(record.Name, record.Labels, described)
	}
	for _, image := range l.byID {
		slices.Sort(image.Names)
		slices.Sort(image.RepoDigests)
		l.images = append(l.images, image)
	}
	slices.SortFunc(l.images, func(a, b *Image) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return l, nil
}

// add enters a name; names of the same configuration share one Image.
func (l *listing) add(name string, labels map[string]string, described Image) {
	image := l.byID[described.ID]
	if image == nil {
		image = &described
		l.byID[described.ID] = image
	}
	l.byName[name] = image
	if at, err := time.Parse(time.RFC3339, labels[labelPulled]); err == nil {
		l.pulled[name] = at
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil || isDangling(name) {
		return
	}
	if _, tagged := named.(reference.Tagged); tagged {
		image.Names = append(image.Names, reference.FamiliarString(named))
	}
	if labels[labelPulled] != "" {
		digested := reference.FamiliarName(named) + "@" + described.Digest.String()
		if !slices.Contains(image.RepoDigests, digested) {
			image.RepoDigests = append(image.RepoDigests, digested)
		}
	}
}

// Get finds an image by name, by ID or by a prefix of its ID. It returns
// ErrNotFound when there is none, ErrAmbiguous when a prefix fits several.
func (s *Store) Get(ctx context.Context, ref string) (Image, error) {
	l, err := s.listing(ctx)
	if err != nil {
		return Image{}, err
	}
	image, err := l.find(ref)
	if err != nil {
		return Image{}, err
	}
	return *image, nil
}

// Pulled tells when an image was last pulled under a name; the zero time when it was not.
func (s *Store) Pulled(ctx context.Context, ref string) (time.Time, error) {
	name, err := Normalize(ref)
	if err != nil {
		return time.Time{}, err
	}
	l, err := s.listing(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return l.pulled[name], nil
}

// List returns all images, newest first, dangling ones too.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	l, err := s.listing(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Image, len(l.images))
	for i, image := range l.images {
		list[i] = *image
	}
	return list, nil
}

func (l *listing) find(ref string) (*Image, error) {
	name, err := Normalize(ref)
	if err == nil {
		if image := l.findName(name); image != nil {
			return image, nil
		}
	}
	if idPattern().MatchString(ref) {
		return l.findID(ref)
	}
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, ref)
}

// findName also finds "name@digest" when the name's tag points to that digest.
func (l *listing) findName(name string) *Image {
	if image := l.byName[name]; image != nil {
		return image
	}
	repo, wanted, digested := strings.Cut(name, "@")
	if !digested {
		return nil
	}
	for have, image := range l.byName {
		if repository(have) == repo && (image.Digest.String() == wanted || image.manifest.Digest.String() == wanted) {
			return image
		}
	}
	return nil
}

func (l *listing) findID(ref string) (*Image, error) {
	prefix := "sha256:" + strings.TrimPrefix(ref, "sha256:")
	if image := l.byID[prefix]; image != nil {
		return image, nil
	}
	var found *Image
	for id, image := range l.byID {
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, ref)
		}
		found = image
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, ref)
	}
	return found, nil
}
