package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"tutti/runtime/image"
	"tutti/scheduler/checkup"
)

// openImages opens the image store. One whose databases are damaged is moved aside, so that the engine, which containers
// need, still starts: layers that they have mounted stay, the images are to be pulled or built again.
func openImages(ctx context.Context, dir string, log *slog.Logger) (*image.Store, error) {
	store, err := image.Open(ctx, dir)
	if !errors.Is(err, image.ErrDamaged) {
		return store, err
	}
	if moveErr := checkup.SetAside(dir); moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	log.Error("the image store is damaged: it begins anew, pull and build images again, and delete what is left of the old one",
		"old", dir+checkup.DamagedSuffix, "error", err)
	if store, err = image.Open(ctx, dir); err != nil {
		return nil, fmt.Errorf("begin a new image store: %w", err)
	}
	return store, nil
}
