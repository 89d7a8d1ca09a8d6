package main

import (
	"context"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) killCommand() *cobra.Command {
	var signal string
	var orphans bool
	cmd := &cobra.Command{
		Use:         "kill [OPTIONS] [SERVICE...]",
		Short:       "Force stop service containers",
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.services(ctx, "kill", api.ServicesRequest{Services: args, Signal: signal, RemoveOrphans: orphans})
		}),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "SIGKILL", "SIGNAL to send to the container")
	cmd.Flags().BoolVar(&orphans, "remove-orphans", a.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	return cmd
}
