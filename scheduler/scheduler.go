// Package scheduler brings projects up and takes them away: it observes what there is, plans what is missing and applies
// the plan, on the containers, networks, volumes and images of an engine (package engine), which supervises what runs.
// Only these two packages translate compose terms into runtime, network and volume terms.
package scheduler

import (
	"context"
	"net/http"

	"tutti/scheduler/engine"
)

// Scheduler carries out the verbs of projects on one engine.
type Scheduler struct {
	*engine.Engine
	doing doings
}

// New returns the scheduler of an engine.
func New(e *engine.Engine) *Scheduler { return &Scheduler{Engine: e} }

// Main is the engine's process, see [engine.Main]; handler makes the HTTP handler of its scheduler.
func Main(ctx context.Context, root string, handler func(*Scheduler) http.Handler) error {
	return engine.Main(ctx, root, func(e *engine.Engine) http.Handler { return handler(New(e)) })
}
