package main

import (
	"context"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) pushCommand() *cobra.Command {
	var request api.PushRequest
	var quiet bool
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] [SERVICE...]",
		Short: "Push service images",
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			p, err := a.loadLoud(ctx, services)
			if err != nil {
				return err
			}
			if request.Project, err = p.Encode(); err != nil {
				return err
			}
			request.Services, request.Client = services, a.clientContext()
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			return a.verb(ctx, c, "push", request, displayOptions{quiet: quiet})
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Push without printing progress information")
	f.BoolVar(&request.IncludeDeps, "include-deps", false, "Also push images of services declared as dependencies")
	f.BoolVar(&request.IgnoreFailures, "ignore-push-failures", false, "Push what it can and ignores images with push failures")
	return cmd
}
