package main

import (
	"context"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) restartCommand() *cobra.Command {
	var timeout int
	var noDeps bool
	cmd := &cobra.Command{
		Use:         "restart [OPTIONS] [SERVICE...]",
		Short:       "Restart service containers",
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.services(ctx, "restart", api.ServicesRequest{Services: args, Timeout: optionalTimeout(cmd, timeout), NoDeps: noDeps})
		}),
	}
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Specify a shutdown timeout in seconds")
	cmd.Flags().BoolVar(&noDeps, "no-deps", false, "Don't restart dependent services")
	return cmd
}
