package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

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
			return a.verb(ctx, c, "pull", request, displayOptions{quiet: quiet})
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
