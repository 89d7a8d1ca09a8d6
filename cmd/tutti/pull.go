package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"tutti/project"
	"tutti/scheduler/api"
)

func (a *app) pullCommand() *cobra.Command {
	var request api.PullRequest
	var quiet bool
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] [SERVICE...]",
		Short: "Pull service images",
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			switch request.Policy {
			case "", "missing", "always":
			default:
				return fmt.Errorf("invalid --policy option %q", request.Policy)
			}
			return a.imageVerb(ctx, "pull", services, quiet, func(_ *project.Project, model json.RawMessage) any {
				request.Project, request.Services, request.Client = model, services, a.clientContext()
				return request
			})
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Pull without printing progress information")
	f.BoolVar(&request.IncludeDeps, "include-deps", false, "Also pull services declared as dependencies")
	f.BoolVar(&request.IgnoreFailures, "ignore-pull-failures", false, "Pull what it can and ignores images with pull failures")
	f.BoolVar(&request.IgnoreBuildable, "ignore-buildable", false, "Ignore images that can be built")
	f.StringVar(&request.Policy, "policy", "", `Apply pull policy ("missing"|"always")`)
	return cmd
}
