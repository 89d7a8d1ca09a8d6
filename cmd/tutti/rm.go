package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

func (a *app) removeStoppedCommand() *cobra.Command {
	var force, stop, volumes bool
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] [SERVICE...]",
		Short: "Removes stopped service containers",
		Long: `Removes stopped service containers

By default, anonymous volumes attached to containers will not be removed. You
can override this with -v. To list all volumes, use "tutti volume ls".

Any data which is not in a volume will be lost.`,
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if stop {
				if err := a.services(ctx, "stop", api.ServicesRequest{Services: args}); err != nil {
					return err
				}
			}
			request := api.ServicesRequest{Services: args, Volumes: volumes}
			if a.dryRun {
				return a.services(ctx, "rm", request)
			}
			names, err := a.stoppedContainers(ctx, args)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				fmt.Fprintln(a.err, "No stopped containers")
				return nil
			}
			question := "Going to remove " + strings.Join(names, ", ")
			if force {
				fmt.Fprintln(a.out, question)
			} else if !a.confirm(question) {
				return nil
			}
			return a.services(ctx, "rm", request)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Don't ask to confirm removal")
	f.BoolVarP(&stop, "stop", "s", false, "Stop the containers, if required, before removing")
	f.BoolVarP(&volumes, "volumes", "v", false, "Remove any anonymous volumes attached to containers")
	f.BoolP("all", "a", false, "Deprecated - no effect")
	f.Lookup("all").Hidden = true
	return cmd
}

// stoppedContainers are the names of a project's containers that do not run: of the services named, or of all in its files.
func (a *app) stoppedContainers(ctx context.Context, services []string) ([]string, error) {
	p, name, err := a.projectOrName(ctx, services)
	if err != nil {
		return nil, err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.Containers(ctx, name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, ctr := range all {
		if ctr.OneOff || slices.Contains(liveStates, ctr.State) || len(services) > 0 && !slices.Contains(services, ctr.Service) {
			continue
		}
		if p != nil {
			if _, has := p.Services[ctr.Service]; !has {
				continue
			}
		}
		names = append(names, ctr.Name)
	}
	slices.Sort(names)
	return names, nil
}

// confirm asks a question that is answered with no unless somebody says yes.
func (a *app) confirm(question string) bool {
	if _, tty := terminal(a.in); tty {
		question += " [yN] "
	}
	fmt.Fprint(a.out, question)
	line, _ := bufio.NewReader(a.in).ReadString('\n') // the end of the input is a no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "1", "t", "true":
		return true
	}
	return false
}
