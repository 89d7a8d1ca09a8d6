package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) startCommand() *cobra.Command {
	var request api.ServicesRequest
	var within int
	cmd := &cobra.Command{
		Use:         "start [SERVICE...]",
		Short:       "Start services",
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			request.Services = args
			if within <= 0 {
				return a.services(ctx, "start", request)
			}
			d := time.Duration(within) * time.Second
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			err := a.services(ctx, "start", request)
			if ctx.Err() == context.DeadlineExceeded {
				return fmt.Errorf("application not healthy after %s", d)
			}
			return err
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&request.Wait, "wait", false, "Wait for services to be running|healthy. Implies detached mode.")
	f.IntVar(&within, "wait-timeout", 0, "Maximum duration in seconds to wait for the project to be running|healthy")
	return cmd
}
