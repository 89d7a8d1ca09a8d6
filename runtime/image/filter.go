package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
)

// ErrFilter is the error of a filter whose value cannot be read.
var ErrFilter = errors.New("invalid filter")

// Filter chooses images as the filters of docker's `image ls` do. The zero value lets all through.
type Filter struct {
	Dangling   *bool
	Labels     []string // NAME or NAME=VALUE, all of which an image must have
	References []string // patterns of path.Match, of which a name must match one; the other names are left out
	Before     string   // an image: those made before it
	Since      string   // an image: those made after it
	Until      time.Time
}

// FilterKeys are docker's names of the filters.
var FilterKeys = []string{"dangling", "label", "reference", "before", "since", "until"}

// ParseFilter reads docker's filters by name. until is what the filter of that name says, which the caller reads.
func ParseFilter(values map[string][]string, until time.Time) (Filter, error) {
	f := Filter{Labels: values["label"], References: values["reference"], Until: until}
	for _, v := range values["dangling"] {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return f, fmt.Errorf("%w 'dangling=[%s]'", ErrFilter, v)
		}
		f.Dangling = &b
	}
	for _, r := range f.References {
		if _, err := reference.FamiliarMatch(r, reference.TagNameOnly(anyName)); err != nil {
			return f, fmt.Errorf("%w 'reference=%s': %w", ErrFilter, r, err)
		}
	}
	f.Before, f.Since = last(values["before"]), last(values["since"])
	return f, nil
}

var anyName = func() reference.Named {
	n, err := reference.ParseNormalizedNamed("name")
	if err != nil {
		panic(err)
	}
	return n
}()

func last(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return l[len(l)-1]
}

// ListFiltered is List for those that the filter lets through. The error is ErrNotFound when one that it names does not exist.
func (s *Store) ListFiltered(ctx context.Context, f Filter) ([]Image, error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var before, since time.Time
	for ref, at := range map[string]*time.Time{f.Before: &before, f.Since: &since} {
		if ref == "" {
			continue
		}
		image, err := s.Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		*at = image.Created
	}
	var chosen []Image
	for _, image := range list {
		if f.Before != "" && !image.Created.Before(before) || f.Since != "" && !image.Created.After(since) {
			continue
		}
		if image, ok := f.match(image); ok {
			chosen = append(chosen, image)
		}
	}
	return chosen, nil
}

// match looks at what can be told from the image alone, and leaves the names that are asked for.
func (f Filter) match(image Image) (Image, bool) {
	if f.Dangling != nil && *f.Dangling != (len(image.Names) == 0) || !f.Until.IsZero() && !image.Created.Before(f.Until) {
		return image, false
	}
	for _, want := range f.Labels {
		name, value, valued := strings.Cut(want, "=")
		if have, ok := image.Config.Labels[name]; !ok || valued && have != value {
			return image, false
		}
	}
	if len(f.References) == 0 {
		return image, true
	}
	drop := func(name string) bool { return !f.named(name) }
	image.Names = slices.DeleteFunc(slices.Clone(image.Names), drop)
	image.RepoDigests = slices.DeleteFunc(slices.Clone(image.RepoDigests), drop)
	return image, len(image.Names)+len(image.RepoDigests) > 0
}

func (f Filter) named(name string) bool {
	ref, err := reference.ParseNormalizedNamed(name)
	return err == nil && slices.ContainsFunc(f.References, func(pattern string) bool {
		ok, err := reference.FamiliarMatch(pattern, ref)
		return ok && err == nil
	})
}
