package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// await blocks until every container of the operation's service is as it should be. It is woken by the changes
// themselves.
func (r *run) await(ctx context.Context, op plan.Op) error {
	units := r.s.ServiceUnits(r.name, op.Service)
	if len(units) == 0 {
		return fmt.Errorf("service %q has no container", op.Service)
	}
	if op.Kind == plan.AwaitCondition {
		for _, waiting := range r.s.ServiceUnits(r.name, op.For) {
			defer waiting.AddWait(plan.Wait{Service: op.Service, Condition: op.Condition, Because: r.s.Observed(units[0]).Describe()})()
		}
	}
	errs := make([]error, len(units))
	var wg sync.WaitGroup
	for i, u := range units {
		wg.Go(func() { errs[i] = r.awaitUnit(ctx, op, u) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) awaitUnit(ctx context.Context, op plan.Op, u *engine.Unit) error {
	tell := func(status string, phase api.Phase, text string) {
		r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.Name(), Status: status, Phase: phase, Text: text})
	}
	if op.Kind == plan.AwaitCondition && op.Condition == plan.Started {
		return u.Wait(ctx, hasStarted)
	}
	tell("Waiting", api.PhaseWorking, "")
	check, done := isHealthy(u, op.Kind == plan.AwaitHealthy), "Healthy"
	if op.Condition == plan.Completed {
		check, done = hasCompleted(u), "Exited"
	}
	if err := u.Wait(ctx, check); err != nil {
		if ctx.Err() != nil {
			return err
		}
		tell("Error", api.PhaseError, err.Error())
		return errors.New(err.Error() + r.s.LastLog(u))
	}
	tell(done, api.PhaseDone, "")
	return nil
}

func hasStarted(s container.State) (bool, error) { return !s.Started.IsZero(), nil }

// isHealthy waits for health; lenient (up --wait) is content with a container that runs without a health check, and with a
// job that has ended well.
func isHealthy(u *engine.Unit, lenient bool) func(container.State) (bool, error) {
	name := u.Name()
	return func(s container.State) (bool, error) {
		switch {
		case s.Status == container.Exited && s.ExitCode == 0 && lenient:
			return true, nil
		case s.Status == container.Exited || s.Status == container.Dead:
			return false, fmt.Errorf("container %s exited (%d)", name, s.ExitCode)
		case s.Alive() && u.Config.Health == nil && lenient:
			return true, nil
		case u.Config.Health == nil && !lenient:
			return false, fmt.Errorf("container %s has no healthcheck configured", name)
		case s.HealthStatus() == supervise.Healthy:
			return true, nil
		case s.HealthStatus() == supervise.Unhealthy:
			return false, fmt.Errorf("container %s is unhealthy%s", name, engine.LastProbe(s.Health))
		}
		return false, nil
	}
}

func hasCompleted(u *engine.Unit) func(container.State) (bool, error) {
	return func(s container.State) (bool, error) {
		switch {
		case s.Status != container.Exited && s.Status != container.Dead:
			return false, nil
		case s.ExitCode != 0:
			return false, fmt.Errorf("container %s did not complete successfully: exit %d", u.Name(), s.ExitCode)
		}
		return true, nil
	}
}
