package main

import (
	"context"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.plainVerb("pause", "Pause services")
}

func (a *app) unpauseCommand() *cobra.Command {
	return a.plainVerb("unpause", "Unpause services")
}

// plainVerb is a verb on services without flags of its own.
func (a *app) plainVerb(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:         verb + " [SERVICE...]",
		Short:       short,
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.services(ctx, verb, api.ServicesRequest{Services: args})
		}),
	}
}
