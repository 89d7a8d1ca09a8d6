package scheduler

import (
	"fmt"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/platforms"

	"tutti/runtime/image"
	"tutti/scheduler/api"
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

// checkPlatform refuses an image that is for another platform than was asked for, and warns of one that is not for this
// host, with dockerd's words.
func (r *run) checkPlatform(ref, wanted string, img image.Image) error {
	if !img.IsFor(wanted) {
		return fmt.Errorf("image with reference %s was found but does not match the specified platform: wanted %s, actual: %s", ref, wanted, img.Platform())
	}
	if wanted == "" && !img.IsFor(platforms.DefaultString()) {
		r.emit(api.Event{Kind: api.KindWarning, Text: fmt.Sprintf(
			"The requested image's platform (%s) does not match the detected host platform (%s) and no specific platform was requested", img.Platform(), platforms.DefaultString())})
	}
	return nil
}
