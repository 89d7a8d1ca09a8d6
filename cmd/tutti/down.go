package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/project"
	"tutti/scheduler/api"
)

func (a *app) downCommand() *cobra.Command {
	var request api.DownRequest
	var timeout int
	cmd := &cobra.Command{
		Use:         "down [OPTIONS] [SERVICES]",
		Short:       "Stop and remove containers, networks",
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			switch request.RMI {
			case "", "all", "local":
			default:
				return fmt.Errorf(`invalid value for --rmi: %q (legal values are "local", "all")`, request.RMI)
			}
			p, name, err := a.projectOrName(ctx, args)
			if err != nil {
				return err
			}
			if request.Project, err = encode(p); err != nil {
				return err
			}
			request.Name, request.Services, request.DryRun = name, args, a.dryRun
			request.Timeout = optionalTimeout(cmd, timeout)
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			return a.verb(ctx, c, "down", request, displayOptions{})
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&request.RemoveOrphans, "remove-orphans", a.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	f.IntVarP(&timeout, "timeout", "t", 0, "Specify a shutdown timeout in seconds")
	f.BoolVarP(&request.Volumes, "volumes", "v", false, `Remove named volumes declared in the "volumes" section of the Compose file
and anonymous volumes attached to containers`)
	f.StringVar(&request.RMI, "rmi", "", `Remove images used by services. "local" remove only images that don't have a custom tag ("local"|"all")`)
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "volume" {
			name = "volumes"
		}
		return pflag.NormalizedName(name)
	})
	return cmd
}

// encode is the wire form of a project, nil when there is none.
func encode(p *project.Project) ([]byte, error) {
	if p == nil {
		return nil, nil
	}
	return p.Encode()
}
