package main

import (
	"context"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) stopCommand() *cobra.Command {
	var timeout int
	cmd := &cobra.Command{
		Use:         "stop [OPTIONS] [SERVICE...]",
		Short:       "Stop services",
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.services(ctx, "stop", api.ServicesRequest{Services: args, Timeout: optionalTimeout(cmd, timeout)})
		}),
	}
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Specify a shutdown timeout in seconds")
	return cmd
}
