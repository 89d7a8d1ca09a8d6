package engine

import (
	"context"

	"tutti/scheduler/checkup"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// lookAtLayers compares the files of unpacked layers with their content.
func (e *Engine) lookAtLayers(ctx context.Context) ([]checkup.Fault, int, error) {
	found, looked, err := e.ImageStore.VerifyFiles(ctx, e.runningFrom)
	var faults []checkup.Fault
	for _, f := range found {
		faults = append(faults, checkup.Fault{Object: f.Object, Problem: f.Problem, Remedy: f.Remedy, Hint: f.Hint, Repair: f.Repair})
	}
	return faults, looked, err
}

// runningFrom names the containers that run and need an image, by its ID.
func (e *Engine) runningFrom(id string) (names []string) {
	for _, u := range e.SelectUnits(func(c *container.Config) bool { return c.ImageID == id || c.Mounted(volumes.TypeImage, id) }) {
		if u.Snapshot().Alive() {
			names = append(names, u.Name())
		}
	}
	return names
}
