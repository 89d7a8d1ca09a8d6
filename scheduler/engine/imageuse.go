package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// useImage finds an image and holds it until release.
func (e *Engine) useImage(ctx context.Context, ref string) (img image.Image, release func(), err error) {
	img, err = e.ImageStore.Use(ctx, ref, func(i image.Image) { release = e.imageHolds.hold(i.ID) })
	return img, release, err
}

// imageUser is a container that needs an image, one that runs if there is any.
func (e *Engine) imageUser(id string) (user image.User, used bool) {
	if e.imageHolds.held(id) {
		user, used = image.User{Name: "that is being created"}, true
	}
	for _, u := range e.SelectUnits(func(c *container.Config) bool { return c.ImageID == id || c.Mounted(volumes.TypeImage, id) }) {
		running := u.Snapshot().Alive()
		if !used || running {
			user, used = image.User{ID: u.ID, Name: u.Name(), Running: running}, true
		}
		if running {
			break
		}
	}
	return user, used
}

// DropImage removes an image by name or id, unless a container needs it. One that is not there is no error.
func (e *Engine) DropImage(ctx context.Context, ref string) error {
	_, err := e.RemoveImage(ctx, ref, image.RemoveOptions{})
	if errors.Is(err, image.ErrNotFound) {
		return nil
	}
	return err
}

// RemoveImage removes an image by name or id, as docker does: one that a container was made from stays, by force without
// its names. Its space on disk is freed in the background. What uses it is the engine's to say.
func (e *Engine) RemoveImage(ctx context.Context, ref string, o image.RemoveOptions) ([]image.Removal, error) {
	o.InUse = e.imageUser
	removed, err := e.ImageStore.Remove(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	e.Background("collect unused layers", func() error { return e.ImageStore.GarbageCollect(context.WithoutCancel(e.ctx)) })
	return removed, nil
}

// PruneImages removes images that no container was made from: those without a name or, with the filter dangling=false, all
// of them; but none that a pull, load or build has made that has not ended yet. Further filters, as docker's: until (a
// time or an age), label and label!. It returns what was removed and how many bytes went.
func (e *Engine) PruneImages(ctx context.Context, filters map[string][]string) ([]image.Removal, int64, error) {
	chosen, err := imageFilter(filters, time.Now())
	if err != nil {
		return nil, 0, err
	}
	usage, err := e.ImageStore.Usage(ctx)
	if err != nil {
		return nil, 0, err
	}
	removed := []image.Removal{}
	gone := map[string]bool{}
	for _, u := range usage.Images {
		i := u.Image
		if _, used := e.imageUser(i.ID); used || !chosen(i) {
			continue
		}
		// Those of its names that went meanwhile do not matter, nor that a container was made from it just now.
		l, err := e.ImageStore.Remove(ctx, i.ID, image.RemoveOptions{Force: len(i.Names) > 1, Spare: true, InUse: e.unused})
		if err != nil && !errors.Is(err, image.ErrNotFound) && !errors.Is(err, image.ErrInUse) {
			return removed, 0, err
		}
		gone[i.ID] = err == nil
		removed = append(removed, l...)
	}
	if err := e.ImageStore.GarbageCollect(ctx); err != nil {
		return removed, 0, err
	}
	return removed, usage.Unneeded(func(id string) bool { return !gone[id] }), nil
}

// unused is imageUser for who removes what is unused: by force or not, a container that does not run needs its image.
func (e *Engine) unused(id string) (image.User, bool) {
	user, used := e.imageUser(id)
	user.Running = true // no force helps
	return user, used
}

// imageFilter reads the filters of a prune.
func imageFilter(filters map[string][]string, now time.Time) (func(image.Image) bool, error) {
	dangling := true
	for _, v := range filters["dangling"] {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return nil, fmt.Errorf("%w: invalid filter 'dangling=%s'", ErrInvalid, v)
		}
		dangling = b
	}
	until, err := untilFilter(filters, now)
	if err != nil {
		return nil, err
	}
	return func(i image.Image) bool {
		if dangling && len(i.Names) > 0 || !until.IsZero() && !i.Created.Before(until) {
			return false
		}
		return Labelled(i.Config.Labels, filters)
	}, nil
}

// ImagesFiltered lists images as docker's filters choose them, see image.Filter.
func (e *Engine) ImagesFiltered(ctx context.Context, filters map[string][]string) ([]image.Image, error) {
	until, err := untilFilter(filters, time.Now())
	if err != nil {
		return nil, err
	}
	f, err := image.ParseFilter(filters, until)
	if err != nil {
		return nil, err
	}
	return e.ImageStore.ListFiltered(ctx, f)
}

// untilFilter reads docker's filter until, a time or an age; the zero time when there is none.
func untilFilter(filters map[string][]string, now time.Time) (until time.Time, err error) {
	if len(filters["until"]) > 1 {
		return until, fmt.Errorf("%w: more than one until filter specified", ErrInvalid)
	}
	for _, v := range filters["until"] {
		if until, err = api.ParseTime(v, now); err != nil {
			return until, fmt.Errorf("%w: invalid filter 'until=%s': %w", ErrInvalid, v, err)
		}
	}
	return until, nil
}
