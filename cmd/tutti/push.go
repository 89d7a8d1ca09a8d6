package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"tutti/project"
	"tutti/scheduler/api"
)

func (a *app) pushCommand() *cobra.Command {
	var request api.PushRequest
	var quiet bool
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] [SERVICE...]",
		Short: "Push service images",
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			return a.imageVerb(ctx, "push", services, quiet, func(_ *project.Project, model json.RawMessage) any {
				request.Project, request.Services, request.Client = model, services, a.clientContext()
				return request
			})
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Push without printing progress information")
	f.BoolVar(&request.IncludeDeps, "include-deps", false, "Also push images of services declared as dependencies")
	f.BoolVar(&request.IgnoreFailures, "ignore-push-failures", false, "Push what it can and ignores images with push failures")
	return cmd
}
