package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/copying"
	"tutti/scheduler/api"
)

// copyFlags are those of both kinds of cp.
type copyFlags struct {
	copying.Options
	index int
	all   bool
	quiet bool
}

func (f *copyFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.FollowLink, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	cmd.Flags().BoolVarP(&f.UserOwner, "archive", "a", false, "Archive mode (copy all uid/gid information)")
}

// copyArgs are the two ends of a copy, one of which is in a container.
type copyArgs struct {
	container, inside, local string
	out                      bool // of the container
}

// parseCopy takes the arguments apart; what is the word for what stands in front of a colon.
func parseCopy(args []string, what string) (copyArgs, error) {
	if args[0] == "" {
		return copyArgs{}, errors.New("source can not be empty")
	}
	if args[1] == "" {
		return copyArgs{}, errors.New("destination can not be empty")
	}
	from, source := copying.Split(args[0])
	to, destination := copying.Split(args[1])
	switch {
	case from != "" && to != "":
		return copyArgs{}, fmt.Errorf("copying between %ss is not supported", what)
	case from != "":
		return copyArgs{container: from, inside: source, local: destination, out: true}, nil
	case to != "":
		return copyArgs{container: to, inside: destination, local: source}, nil
	case what == "service":
		return copyArgs{}, errors.New("unknown copy direction")
	}
	return copyArgs{}, errors.New("must specify at least one container source")
}

func (c copyArgs) run(ctx context.Context, client *api.Client, container string, o copying.Options) (int64, error) {
	if c.out {
		return copying.From(ctx, client, container, c.inside, c.local, o)
	}
	return copying.To(ctx, client, container, c.local, c.inside, o)
}

// copyCommand is docker compose's cp.
func (a *app) copyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use: `cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-
	tutti cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH`,
		Short:       "Copy files/folders between a service container and the local filesystem",
		Args:        exactArgs(2),
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			ends, err := parseCopy(args, "service")
			if err != nil {
				return err
			}
			c, all, err := a.projectContainers(ctx)
			if err != nil {
				return err
			}
			targets, err := copyTargets(all, ends, f)
			if err != nil {
				return err
			}
			f.In, f.Out = a.in, a.out
			return a.copyAll(ctx, c, ends, targets, f.Options)
		}),
	}
	f.add(cmd)
	cmd.Flags().IntVar(&f.index, "index", 0, "Index of the container if service has multiple replicas")
	cmd.Flags().BoolVar(&f.all, "all", false, "Include containers created by the run command")
	return cmd
}

// copyTargets are the containers of a copy: into all of a service's, out of the first.
func copyTargets(all []api.Container, ends copyArgs, f copyFlags) ([]api.Container, error) {
	list := containersOf(all, ends.container, f.index, f.all && f.index == 0)
	switch {
	case len(list) == 0 && f.index > 0:
		return nil, fmt.Errorf("service %q is not running container #%d", ends.container, f.index)
	case len(list) == 0:
		return nil, fmt.Errorf("no container found for service %q", ends.container)
	case ends.out, ends.local == "-": // standard input can be read once
		return list[:1], nil
	}
	return list, nil
}

// containersOf are the containers of a service, running or not, by their numbers: one, or with index 0 all.
func containersOf(all []api.Container, service string, index int, oneOff bool) []api.Container {
	var list []api.Container
	for _, c := range all {
		if c.Service == service && (oneOff || !c.OneOff) && (index == 0 || c.Number == index) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(x, y api.Container) int {
		if x.OneOff != y.OneOff {
			return map[bool]int{false: -1, true: 1}[x.OneOff]
		}
		return cmp.Compare(x.Number, y.Number)
	})
	return list
}

// serviceContainer is one container of a service for a command that takes one, running or not.
func serviceContainer(all []api.Container, service string, index int) (api.Container, error) {
	list := containersOf(all, service, index, index == 0)
	if len(list) > 0 {
		return list[0], nil
	}
	if index > 0 {
		return api.Container{}, fmt.Errorf("service %q is not running container #%d", service, index)
	}
	return api.Container{}, fmt.Errorf("service %q is not running", service)
}

// copyAll copies from or to each container at once.
func (a *app) copyAll(ctx context.Context, c *api.Client, ends copyArgs, targets []api.Container, o copying.Options) error {
	d := a.display(ctx, "copy", displayOptions{})
	defer d.Close()
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		text := fmt.Sprintf("%s to %s:%s", ends.local, t.Name, ends.inside)
		if ends.out {
			text = fmt.Sprintf("%s:%s to %s", t.Name, ends.inside, ends.local)
		}
		event := api.Event{Kind: api.KindResource, Resource: "Container", Name: t.Name, Status: "Copying", Phase: api.PhaseWorking, Text: text}
		wg.Go(func() {
			d.Event(event)
			if !a.dryRun {
				_, errs[i] = ends.run(ctx, c, t.ID, o)
			}
			event.Status, event.Phase = "Copied", api.PhaseDone
			if errs[i] != nil {
				event.Status, event.Phase = "Error", api.PhaseError
			}
			d.Event(event)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// containerCopyCommand is docker's cp.
func (a *app) containerCopyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use: `cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-
	tutti container cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH`,
		Short: "Copy files/folders between a container and the local filesystem",
		Args:  exactArgs(2),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			ends, err := parseCopy(args, "container")
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			f.In, f.Out = a.in, a.out
			n, err := ends.run(ctx, c, ends.container, f.Options)
			if err != nil {
				return err
			}
			if _, tty := terminal(a.out); (tty || cmd.Flags().Changed("quiet")) && !f.quiet {
				to := ends.local
				if !ends.out {
					to = ends.container + ":" + ends.inside
				}
				fmt.Fprintf(a.err, "Successfully copied %s to %s\n", units.HumanSizeWithPrecision(float64(n), 3), to)
			}
			return nil
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached")
	return cmd
}
