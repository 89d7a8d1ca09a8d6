package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/proctable"
)

// Top lists the processes of a container that runs. arguments are those of ps: "" is "-ef".
func (e *Engine) Top(ctx context.Context, name, arguments string) (titles []string, rows [][]string, err error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return nil, nil, err
	}
	switch s := u.Snapshot(); {
	case s.Status == container.Restarting:
		return nil, nil, fmt.Errorf("%w: container %s is restarting, wait until the container is running", ErrConflict, u.Name())
	case !s.Alive():
		return nil, nil, fmt.Errorf("%w: container %s is not running", ErrConflict, u.Name())
	}
	return e.top(ctx, u, arguments)
}

func (e *Engine) top(ctx context.Context, u *Unit, arguments string) (titles []string, rows [][]string, err error) {
	p, err := u.Process(ctx)
	if err != nil {
		return nil, nil, err
	}
	if p == nil {
		return nil, nil, fmt.Errorf("%w: container %s is not running", ErrConflict, u.Name())
	}
	pids, err := p.Pids()
	if err != nil {
		return nil, nil, err
	}
	all, err := proctable.Read(pids)
	if err != nil {
		return nil, nil, err
	}
	if titles, rows, err = proctable.Format(all, arguments, time.Now()); err == nil {
		e.Publish(u, events.ActionTop)
	}
	return titles, rows, err
}

// TopProject lists the processes of a project's running containers, by the containers' names.
func (e *Engine) TopProject(ctx context.Context, project string, services []string) ([]api.Processes, error) {
	list := []api.Processes{}
	for _, u := range e.ProjectUnits(project) {
		if !u.Snapshot().Alive() || len(services) > 0 && !slices.Contains(services, u.Config.Service) {
			continue
		}
		titles, rows, err := e.top(ctx, u, "")
		if err != nil {
			if !u.Snapshot().Alive() {
				continue // it has just ended
			}
			return nil, fmt.Errorf("container %s: %w", u.Name(), err)
		}
		list = append(list, api.Processes{Container: u.Name(), Service: u.Config.Service, Number: u.Config.Number, Titles: titles, Rows: rows})
	}
	slices.SortFunc(list, func(a, b api.Processes) int { return strings.Compare(a.Container, b.Container) })
	return list, nil
}
