package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime"
	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// platform is what a service's image is for: what the file says or, as with docker, $DOCKER_DEFAULT_PLATFORM. Empty is this
// host's.
func (r *run) platform(s types.ServiceConfig) string {
	if s.Platform != "" {
		return s.Platform
	}
	return r.client.DefaultPlatform
}

// platformOf is the platform of the first service, by name, that has the image.
func (r *run) platformOf(ref string) string {
	for _, name := range slices.Sorted(slices.Values(r.project.ServiceNames())) {
		if r.project.ImageName(name) == ref {
			return r.platform(r.project.Services[name])
		}
	}
	return r.client.DefaultPlatform
}

// isFor tells whether an image is for a platform; every image is for none in particular.
func isFor(img image.Image, platform string) bool {
	if platform == "" {
		return true
	}
	wanted, err := platforms.Parse(platform)
	return err == nil && platforms.Only(wanted).Match(ocispec.Platform{OS: img.OS, Architecture: img.Arch, Variant: img.Variant})
}

// checkPlatform refuses an image that is for another platform than was asked for, and warns of one that is not for this
// host, with dockerd's words.
func (r *run) checkPlatform(ref, wanted string, img image.Image) error {
	if !isFor(img, wanted) {
		return fmt.Errorf("image with reference %s was found but does not match the specified platform: wanted %s, actual: %s", ref, wanted, img.Platform())
	}
	if wanted == "" && !isFor(img, platforms.DefaultString()) {
		r.emit(api.Event{Kind: api.KindWarning, Text: fmt.Sprintf(
			"The requested image's platform (%s) does not match the detected host platform (%s) and no specific platform was requested", img.Platform(), platforms.DefaultString())})
	}
	return nil
}

// explainFormat adds to the kernel's "exec format error" what is the matter, where it is the image's platform.
func (e *Engine) explainFormat(ctx context.Context, c *container.Config, err error) error {
	if !errors.Is(err, runtime.ErrPermission) || !strings.Contains(err.Error(), "exec format error") {
		return err
	}
	img, lookErr := e.images.Get(ctx, c.ImageID)
	if lookErr != nil || isFor(img, platforms.DefaultString()) {
		return err
	}
	return fmt.Errorf("%w: the image is for %s, this host is %s and has no emulator for it (binfmt_misc, Debian: qemu-user-static)", err, img.Platform(), platforms.DefaultString())
}
