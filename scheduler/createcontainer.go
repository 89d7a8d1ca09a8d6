package scheduler

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/fromdocker"
	"tutti/scheduler/imageconfig"
	"tutti/volumes"
)

// CreateContainer makes a container that a client of docker's API wants: there is no compose file that has it, and in all else
// it is a container as any other. name is "" for one that is generated, platform for this host's. It returns the id, and
// docker's warnings. Nothing runs yet; when it fails, nothing is left.
func (s *Scheduler) CreateContainer(ctx context.Context, name, platform string, b fromdocker.Body) (id string, warnings []string, err error) {
	if name, err = s.freeName(name); err != nil {
		return "", nil, err
	}
	if b.Config == nil {
		return "", nil, fmt.Errorf("%w: config cannot be empty in order to create a container", engine.ErrInvalid)
	}
	img, err := s.imageFor(ctx, b.Image, platform)
	if err != nil {
		return "", nil, err
	}
	w, err := fromdocker.New(b, imageconfig.Defaults(img), fromdocker.Host{Network: s.networkFor, Container: s.containerFor})
	if err != nil {
		return "", nil, invalid(err)
	}
	w.Service.Platform = platform
	r := &run{s: s, project: w.Project, emit: func(e api.Event) { w.Warnings = append(w.Warnings, e.Text) }}
	c, err := r.config(ctx, w.Project, w.Service, b.Image, engine.NewID())
	if err != nil {
		return "", nil, invalid(err)
	}
	c.Name = name
	if err := w.Finish(&c); err != nil {
		return "", nil, invalid(err)
	}
	for _, check := range []func() error{
		func() error { _, err := engine.ParseSignal(c.StopSignal); return err },
		func() error { _, err := engine.PortSpecs(c.Ports); return err },
		c.Check, func() error { return r.checkPeers(&c) }, func() error { return s.checkEndpoints(&c) },
	} {
		if err := check(); err != nil {
			return "", nil, invalid(err)
		}
	}
	if err := s.createWithVolumes(ctx, c, w.Volumes); err != nil {
		return "", nil, err
	}
	return c.ID, w.Warnings, nil
}

// createWithVolumes makes the volumes that have labels or options of their own, and the container.
func (s *Scheduler) createWithVolumes(ctx context.Context, c container.Config, specs []volumes.Spec) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				err = errors.Join(err, s.DropVolume(name))
			}
		}
	}()
	for _, spec := range specs {
		if _, err := s.Volume(spec.Name); err == nil {
			continue // it is what it is, as with docker
		}
		if _, err := s.MakeVolume(spec); err != nil {
			return invalid(err)
		}
		made = append(made, spec.Name)
	}
	_, err = s.CreateUnit(ctx, c, nil)
	if errors.Is(err, engine.ErrNameTaken) {
		return s.nameTaken(c.Name, err)
	}
	if errors.Is(err, volumes.ErrInvalid) {
		return invalid(err)
	}
	return err
}

// imageFor is the image of a new container.
func (s *Scheduler) imageFor(ctx context.Context, ref, platform string) (image.Image, error) {
	if ref == "" {
		return image.Image{}, fmt.Errorf("%w: no image specified", engine.ErrInvalid)
	}
	img, err := s.ImageStore.Get(ctx, ref)
	if errors.Is(err, image.ErrNotFound) {
		if full, e := image.Normalize(ref); e == nil {
			ref = image.Familiar(full)
		}
		return img, fmt.Errorf("%w image: %s", engine.ErrNoSuch, ref)
	}
	if err == nil && !img.IsFor(platform) {
		// Not found, so that clients pull it.
		return img, fmt.Errorf("%w image: the image with reference %s was found but its platform (%s) does not match the specified platform (%s)", engine.ErrNoSuch, ref, img.Platform(), platform)
	}
	return img, err
}

// networkFor is the name of a network that containers can be made on.
func (s *Scheduler) networkFor(ref string) (string, error) {
	n, err := s.Network(ref)
	if errors.Is(err, engine.ErrNoSuch) {
		return "", fmt.Errorf("network %s not found", ref)
	}
	return n.Name, err
}

// containerFor is the id of a container.
func (s *Scheduler) containerFor(ref string) (string, error) {
	u, err := s.FindUnit(ref)
	if errors.Is(err, engine.ErrNoSuch) {
		return "", fmt.Errorf("No such container: %s", ref) //nolint:staticcheck // docker's words
	}
	if err != nil {
		return "", err
	}
	return u.ID, nil
}

// checkEndpoints finds what cannot be of the addresses and names that a container wants on its networks.
func (s *Scheduler) checkEndpoints(c *container.Config) error {
	for _, a := range c.Networks {
		n, err := s.NetworkByName(a.Network)
		if err != nil {
			continue // the default bridge, which is made with the container
		}
		bare := *c
		bare.Networks = nil
		if err := s.CheckConnect(n, &bare, a); err != nil {
			return err
		}
	}
	return nil
}

// containerNames are what docker takes for the name of a container.
var containerNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) })

// freeName checks the name that is wanted, or makes one up.
func (s *Scheduler) freeName(name string) (string, error) {
	if name == "" {
		return fromdocker.Name(func(name string) bool { return s.named(name) == nil }), nil
	}
	plain := strings.TrimPrefix(name, "/")
	if len(plain) > maxContainerName || !containerNames().MatchString(plain) {
		return "", fmt.Errorf("%w: Invalid container name (%.300s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", engine.ErrInvalid, name)
	}
	if s.named(plain) != nil {
		return "", s.nameTaken(plain, nil)
	}
	return plain, nil
}

// maxContainerName is how long the name of a container may be, as that of a file.
const maxContainerName = 255

// named is the container of exactly that name, or nil.
func (s *Scheduler) named(name string) *engine.Unit {
	u, err := s.OpUnit("", name)
	if err != nil {
		return nil
	}
	return u
}

// nameTaken says in docker's words whose the name is.
func (s *Scheduler) nameTaken(name string, otherwise error) error {
	u := s.named(name)
	if u == nil { // somebody is about to make it
		return errors.Join(engine.ErrConflict, otherwise)
	}
	const words = "%w: Conflict. The container name \"/%s\" is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name."
	return fmt.Errorf(words, engine.ErrConflict, name, u.ID)
}

// invalid makes an error one of the request, in the words of docker's API.
func invalid(err error) error {
	if errors.Is(err, engine.ErrConflict) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", engine.ErrInvalid, fromdocker.InWords(err))
}

// UpdateContainer changes the limits and the restart policy of a container as a client of docker's API wants it. It returns
// docker's warnings.
func (s *Scheduler) UpdateContainer(ctx context.Context, name string, q fromdocker.Update) ([]string, error) {
	var discarded []string
	warnings, err := s.Engine.UpdateContainer(ctx, name, func(c *container.Config) (next container.Updated, err error) {
		next, discarded, err = q.Apply(c)
		if err != nil {
			err = fromdocker.InWords(err)
		}
		return next, err
	})
	return append(discarded, warnings...), err
}
