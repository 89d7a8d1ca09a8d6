package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/platforms"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// explainFormat adds to the kernel's "exec format error" what is the matter, where it is the image's platform.
func (e *Engine) explainFormat(ctx context.Context, c *container.Config, err error) error {
	if !errors.Is(err, runtime.ErrPermission) || !strings.Contains(err.Error(), "exec format error") {
		return err
	}
	img, lookErr := e.ImageStore.Get(ctx, c.ImageID)
	if lookErr != nil || img.IsFor(platforms.DefaultString()) {
		return err
	}
	return fmt.Errorf("%w: the image is for %s, this host is %s and has no emulator for it (binfmt_misc, Debian: qemu-user-static)", err, img.Platform(), platforms.DefaultString())
}
