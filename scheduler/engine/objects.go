package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"sort"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/netdriver"
	"tutti/runtime/image"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// Images lists the images.
func (e *Engine) Images(ctx context.Context) ([]image.Image, error) { return e.ImageStore.List(ctx) }

// Image finds an image by name, id or the beginning of its id.
func (e *Engine) Image(ctx context.Context, ref string) (image.Image, error) {
	return e.ImageStore.Get(ctx, ref)
}

// ImageFor is Image for one platform of several.
func (e *Engine) ImageFor(ctx context.Context, ref string, platform ocispec.Platform) (image.Image, error) {
	return e.ImageStore.GetFor(ctx, ref, platform)
}

// ImageUsers counts the containers per image id.
func (e *Engine) ImageUsers() map[string]int {
	n := map[string]int{}
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		n[u.Config.ImageID]++
	}
	return n
}

// LoadImages reads a docker archive or an OCI layout.
func (e *Engine) LoadImages(ctx context.Context, r io.Reader, o image.LoadOptions) ([]image.Image, error) {
	return e.ImageStore.Load(ctx, r, o)
}

// TagImage gives an image another name.
func (e *Engine) TagImage(ctx context.Context, ref, name string) error {
	return e.ImageStore.Tag(ctx, ref, name)
}

// Volumes lists the volumes by name.
func (e *Engine) Volumes() ([]volumes.Volume, error) { return e.VolumeStore.List() }

// Volume finds a volume.
func (e *Engine) Volume(name string) (volumes.Volume, error) { return e.VolumeStore.Get(name) }

// CreateVolume makes a volume, or returns the one of that name.
func (e *Engine) CreateVolume(s volumes.Spec) (volumes.Volume, error) {
	if s.Name == "" {
		s.Name = NewID()
	}
	return e.MakeVolume(s)
}

// volumeUsers are the containers that have a volume.
func (e *Engine) volumeUsers(name string) []*Unit {
	return e.SelectUnits(func(c *container.Config) bool { return c.Mounted(volumes.TypeVolume, name) })
}

// VolumeInUse tells whether a container has a volume.
func (e *Engine) VolumeInUse(name string) bool { return len(e.volumeUsers(name)) > 0 }

// RemoveVolume removes a volume that no container has.
func (e *Engine) RemoveVolume(name string, force bool) error {
	e.volumeHolds.removing.Lock()
	defer e.volumeHolds.removing.Unlock()
	users := e.volumeUsers(name)
	if len(users) > 0 {
		var names []string
		for _, u := range users {
			names = append(names, u.Name())
		}
		return fmt.Errorf("%w: volume %s is in use by %s", ErrConflict, name, strings.Join(names, ", "))
	}
	if e.volumeHolds.held(name) {
		return fmt.Errorf("%w: volume %s is in use by a container that is being created", ErrConflict, name)
	}
	err := e.DropVolume(name)
	if force && errors.Is(err, volumes.ErrNotFound) {
		return nil
	}
	return err
}

// Networks lists the networks by name.
func (e *Engine) Networks() []netdriver.Network {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []netdriver.Network{}
	for _, n := range e.networks {
		all = append(all, n)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// NetworkLabels are the labels that a network was given.
func NetworkLabels(n netdriver.Network) map[string]string {
	labels := maps.Clone(n.Labels)
	delete(labels, labelCreated)
	delete(labels, labelConfigFrom)
	delete(labels, labelConfig)
	return labels
}

// NetworkConfig is project.NetworkCanonical of the definition that a network was made from; nil where that is not known.
func NetworkConfig(n netdriver.Network) json.RawMessage {
	if config := n.Labels[labelConfig]; config != "" {
		return json.RawMessage(config)
	}
	return nil
}

// NetworkUsers are the names of the containers on each network, running or not.
func (e *Engine) NetworkUsers() map[string][]string {
	return e.UsersOfNetworks(func(*container.Config) bool { return true })
}

// NetworkCreated is when a network was made, RFC 3339.
func NetworkCreated(n netdriver.Network) string { return n.Labels[labelCreated] }
