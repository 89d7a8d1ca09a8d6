package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tutti/runtime/statefile"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// NewID returns 64 random hex digits.
func NewID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand
	return hex.EncodeToString(b[:])
}

// CreateUnit makes a container: its folder, its anonymous volumes, its record. Nothing runs yet. keep holds the anonymous
// volumes of a predecessor by mount target.
func (e *Engine) CreateUnit(ctx context.Context, c container.Config, keep map[string]string) (_ *Unit, err error) {
	if err := e.EnsureDefaultBridge(ctx, c); err != nil {
		return nil, err
	}
	release, err := e.claimName(c.Name)
	if err != nil {
		return nil, err
	}
	defer release()
	need := &needs{e: e}
	defer need.end()
	if err := need.images(ctx, &c); err != nil {
		return nil, err
	}
	dir := e.Paths.Container(c.ID)
	for _, d := range []string{dir, filepath.Join(dir, "upper"), filepath.Join(dir, "work")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("create the container's folder: %w", err)
		}
	}
	// The upper folder becomes the container's root: everybody in it may look.
	if err := os.Chmod(filepath.Join(dir, "upper"), 0o755); err != nil { //nolint:gosec // see above
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.discard(dir))
		}
	}()
	if err := e.mountVolumes(ctx, &c, keep, need); err != nil {
		return nil, err
	}
	rec := container.Record{Config: c, State: container.State{Status: container.Created}}
	if err := statefile.Write(recordPath(dir), rec); err != nil {
		return nil, err
	}
	u, err := newUnit(dir, rec, nil)
	if err != nil {
		return nil, fmt.Errorf("open the container's log: %w", err)
	}
	u.syncer = e.syncer
	e.syncer.add(u)
	e.mu.Lock()
	e.units[c.ID] = u
	e.mu.Unlock()
	e.bus.send(change{kind: changeCreated, unit: u})
	return u, nil
}

// claimName reserves a container's name until release: two creations at the same time cannot both have it.
func (e *Engine) claimName(name string) (release func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.reserved[name]
	for _, u := range e.units {
		taken = taken || u.Name() == name
	}
	if taken {
		return nil, nameTaken(name)
	}
	e.reserved[name] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.reserved, name)
	}, nil
}

// nameTaken is the name of another container.
type nameTaken string

func (n nameTaken) Error() string {
	return fmt.Sprintf("the container name %q is already in use: remove or rename that container", string(n))
}

// Is makes it ErrNameTaken.
func (n nameTaken) Is(target error) bool { return target == ErrNameTaken }

// mountVolumes makes the anonymous volumes of a new container, named ones that nobody has made yet, and fills empty ones
// with what the image has at their place.
func (e *Engine) mountVolumes(ctx context.Context, c *container.Config, keep map[string]string, need *needs) error {
	var lowers []string
	for i := range c.Mounts {
		m := &c.Mounts[i]
		if m.Type != volumes.TypeVolume || m.Inherited {
			continue
		}
		spec := volumes.Spec{Name: m.Source, Driver: "local"}
		if m.Anonymous {
			if m.Source = keep[m.Target]; m.Source == "" {
				m.Source = NewID()
			}
			spec.Name = m.Source
			spec.Labels = map[string]string{labelAnonymous: ""}
		}
		need.volume(spec.Name)
		v, err := e.VolumeStore.Get(spec.Name)
		if errors.Is(err, volumes.ErrNotFound) {
			v, err = e.MakeVolume(spec)
		}
		if err != nil {
			return err
		}
		if m.NoCopy || m.Subpath != "" {
			continue
		}
		if lowers == nil {
			if lowers, err = e.lowers(ctx, c.ImageID); err != nil {
				return err
			}
		}
		if err := e.VolumeStore.PopulateLayers(ctx, v, lowers, m.Target); err != nil {
			return fmt.Errorf("volume %s: copy the image's %s into it: %w", v.Name, m.Target, err)
		}
	}
	return nil
}

// lowers are the unpacked layers of an image, topmost first.
func (e *Engine) lowers(ctx context.Context, imageID string) ([]string, error) {
	img, err := e.ImageStore.Get(ctx, imageID)
	if err != nil {
		return nil, err
	}
	return e.ImageStore.Lower(ctx, img)
}

// discard takes a folder away at once and deletes it when there is time.
func (e *Engine) discard(dir string) error {
	to := filepath.Join(e.Paths.Trash(), filepath.Base(dir)+"-"+NewID()[:8])
	if err := os.Rename(dir, to); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	e.Background("delete "+to, func() error { return os.RemoveAll(to) })
	return nil
}
