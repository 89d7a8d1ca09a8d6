package engine

import (
	"context"
	"os"
	goruntime "runtime"
	"sync"

	"tutti/runtime/cgroup"
	"tutti/runtime/cgroup/scope"
	"tutti/scheduler/container"
)

// settle moves this engine and its keeper to a place where they do not end with the session or service that happened to
// start them, and returns the group below which containers live.
func (e *Engine) settle(ctx context.Context) (parent string, err error) {
	host, err := cgroup.Detect()
	if err != nil {
		return "", err
	}
	place := scope.Place{Name: e.Paths.UnitName(), Root: "/tutti-" + e.Paths.Instance()}
	parent, err = scope.Settle(ctx, host, place, []int{os.Getppid(), os.Getpid()})
	if err != nil {
		e.Log.Warn("systemd gives no scope: what was started from a login session may end with it", "error", err)
	}
	e.features = sync.OnceValues(func() (cgroup.Features, error) { return host.Features(parent) })
	return parent, nil
}

// Fit is the configuration without what this host cannot limit, and docker's warnings about that.
func (e *Engine) Fit(c container.Config) (container.Config, []string, error) {
	f, err := e.features()
	if err != nil {
		return c, nil, err
	}
	return c.Fit(f, goruntime.NumCPU())
}
