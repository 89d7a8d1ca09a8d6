package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/runtime/logs"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
)

// Labels of the containers of pre_start hooks, docker compose's.
const (
	labelHook      = "com.docker.compose.hook"
	labelHookIndex = "com.docker.compose.hook.index"
)

// preStart runs a service's pre_start hooks in their order, each to its end in a container of its own, which has the service's
// networks and the volumes of the operation's container. The first that fails ends it, and the service is not started.
func (r *run) preStart(ctx context.Context, op plan.Op) error {
	parent, err := r.unit(op)
	if err != nil {
		return err
	}
	for i, hook := range r.project.Services[op.Service].PreStart {
		if err := r.runPreStart(ctx, op.Service, i, hook.ContainerSpec, parent); err != nil {
			return fmt.Errorf("pre_start[%d]: %w", i, err)
		}
	}
	return nil
}

func (r *run) runPreStart(ctx context.Context, service string, index int, spec types.ContainerSpec, parent *engine.Unit) error {
	name := fmt.Sprintf("%s-%s-pre_start-%d", r.name, service, index)
	if old, err := r.s.FindUnit(name); err == nil && old.Config.PreStart { // a crash has left it behind
		if err := r.s.RemoveUnit(ctx, old, true, true); err != nil {
			return err
		}
	}
	spec.VolumesFrom = append(slices.Clip(spec.VolumesFrom), types.ContainerPrefix+parent.Name())
	c, err := r.config(ctx, r.project, types.ServiceConfig{Name: service, ContainerSpec: spec}, cmp.Or(spec.Image, r.project.ImageName(service)), engine.NewID())
	if err != nil {
		return err
	}
	c.Name, c.OneOff, c.PreStart, c.Health = name, true, true, nil
	maps.Copy(c.Labels, map[string]string{
		api.LabelProject: r.name, api.LabelService: service, api.LabelOneOff: "True", labelHook: "pre_start", labelHookIndex: fmt.Sprint(index),
	})
	u, err := r.s.CreateUnit(ctx, c, nil)
	if err != nil {
		return err
	}
	err = r.runToEnd(ctx, u, parent)
	return errors.Join(err, r.s.RemoveUnit(context.WithoutCancel(ctx), u, true, true))
}

// runToEnd starts a hook's container and waits for its end. Who follows the project's logs sees what it prints as the
// service's.
func (r *run) runToEnd(ctx context.Context, u, parent *engine.Unit) error {
	if err := r.s.StartUnit(ctx, u); err != nil {
		return err
	}
	shown := make(chan struct{})
	go func() { // ends with the log, or with ctx
		defer close(shown)
		if u.Log == nil {
			return
		}
		_ = u.Log.Read(ctx, logs.ReadOptions{Tail: -1, Follow: true}, func(l logs.Entry) error {
			r.s.TellHook(parent, l)
			return ctx.Err()
		})
	}()
	err := u.Wait(ctx, func(s container.State) (bool, error) {
		if s.Status != container.Exited {
			return false, nil
		}
		if s.ExitCode != 0 {
			return false, fmt.Errorf("hook exited with status %d", s.ExitCode)
		}
		return true, nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	<-shown
	if err != nil {
		return errors.New(err.Error() + r.s.LastLog(u))
	}
	return nil
}
