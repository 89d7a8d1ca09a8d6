package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"syscall"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) waitCommand() *cobra.Command {
	var down bool
	cmd := &cobra.Command{
		Use:         "wait SERVICE [SERVICE...] [OPTIONS]",
		Short:       "Block until containers of all (or specified) services stop.",
		Args:        minArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			if a.dryRun {
				return errors.New("wait is not supported in dry-run mode")
			}
			p, name, err := a.projectOrName(ctx, nil)
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			code, err := a.waitAll(ctx, c, name, services)
			if err != nil {
				return err
			}
			if down {
				request := api.DownRequest{Name: name, RemoveOrphans: true}
				if request.Project, err = encode(p); err != nil {
					return err
				}
				if err := a.verb(ctx, c, "down", request, displayOptions{}); err != nil {
					return err
				}
			}
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&down, "down-project", false, "Drops project when the containers have stopped")
	return cmd
}

// waitAll waits for the containers of services, tells how each ended, and returns the code of the one that ended last. Where
// none runs the codes are those of the containers that have ended.
func (a *app) waitAll(ctx context.Context, c *api.Client, name string, services []string) (int, error) {
	all, err := c.Containers(ctx, name)
	if err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(c api.Container) bool { return !slices.Contains(services, c.Service) })
	live := slices.DeleteFunc(slices.Clone(all), func(c api.Container) bool { return !slices.Contains(liveStates, c.State) })
	if len(live) == 0 {
		live = all
	}
	if len(live) == 0 {
		return 0, fmt.Errorf("no containers for project %q", name)
	}
	slices.SortFunc(live, func(a, b api.Container) int { return a.Finished.Compare(b.Finished) })
	type end struct {
		id   string
		code int
		err  error
	}
	ended := make(chan end)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, ctr := range live {
		go func() {
			code, err := waitContainer(ctx, c, ctr.ID)
			select {
			case ended <- end{ctr.ID, code, err}:
			case <-ctx.Done():
			}
		}()
	}
	code := 0
	for range live {
		select {
		case e := <-ended:
			if e.err != nil {
				return 0, e.err
			}
			fmt.Fprintf(a.out, "container %q exited with status code %d\n", e.id, e.code)
			code = e.code
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return code, nil
}

// waitContainer waits for a container's end. An engine that dies meanwhile is asked again when it is back.
func waitContainer(ctx context.Context, c *api.Client, id string) (int, error) {
	for {
		var r apicontainer.WaitResponse
		err := c.Call(ctx, http.MethodPost, "/containers/"+id+"/wait", nil, &r)
		if err == nil {
			return int(r.StatusCode), nil
		}
		if ctx.Err() != nil || !engineGone(err) {
			return 0, err
		}
		if err := awaitEngine(ctx, c); err != nil {
			return 0, err
		}
	}
}

// engineGone says whether an error is that of a connection which the engine's end has cut off.
func engineGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
