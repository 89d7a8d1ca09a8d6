package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/project"
	"tutti/scheduler/api"
)

// liveStates are those of containers that run, or will go on to: `ps` shows these unless told otherwise.
var liveStates = []string{"running", "restarting", "paused"}

type psFlags struct {
	format, filter                            string
	status                                    []string
	all, quiet, services, orphans, noTruncate bool
}

func (a *app) psCommand() *cobra.Command {
	var f psFlags
	cmd := &cobra.Command{
		Use:         "ps [OPTIONS] [SERVICE...]",
		Short:       "List containers",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := f.parseFilter(); err != nil {
				return err
			}
			name, err := a.projectName()
			if len(args) > 0 { // the files are needed to tell a name that is wrong from one that has no containers
				var p *project.Project
				if p, name, err = a.projectOrName(ctx, nil); err == nil {
					err = knownServices(p, args)
				}
			}
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			all, err := c.Containers(ctx, name)
			if err != nil {
				return err
			}
			return a.printContainers(f.choose(all, args), &f)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "", formatHelp)
	flags.StringVar(&f.filter, "filter", "", "Filter services by a property (supported filters: status)")
	flags.StringArrayVar(&f.status, "status", nil, "Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "Only display IDs")
	flags.BoolVar(&f.services, "services", false, "Display services")
	flags.BoolVar(&f.orphans, "orphans", true, "Include orphaned services (not declared by project)")
	flags.BoolVarP(&f.all, "all", "a", false, "Show all stopped containers (including those created by the run command)")
	flags.BoolVar(&f.noTruncate, "no-trunc", false, "Don't truncate output")
	return cmd
}

// formatHelp explains --format of the listings that know templates.
const formatHelp = `Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.`

func (f *psFlags) parseFilter() error {
	if f.filter == "" {
		return nil
	}
	key, value, ok := strings.Cut(f.filter, "=")
	switch {
	case !ok:
		return errors.New("arguments to --filter should be in form KEY=VAL")
	case key != "status":
		return fmt.Errorf("unknown filter %s", key)
	}
	f.status = append(f.status, value)
	return nil
}

// knownServices refuses names that are in no compose file. Without files any name may be one.
func knownServices(p *project.Project, services []string) error {
	if p == nil {
		return nil
	}
	for _, s := range services {
		_, enabled := p.Services[s]
		_, disabled := p.DisabledServices[s]
		if !enabled && !disabled {
			return &noServiceError{s}
		}
	}
	return nil
}

// choose returns the containers that are to be shown, sorted by name.
func (f *psFlags) choose(all []api.Container, services []string) []api.Container {
	var chosen []api.Container
	for _, c := range all {
		switch {
		case len(services) > 0 && !slices.Contains(services, c.Service),
			len(f.status) > 0 && !slices.Contains(f.status, c.State),
			len(f.status) == 0 && !f.all && (c.OneOff || !slices.Contains(liveStates, c.State)),
			!f.orphans && c.Orphan:
			continue
		}
		chosen = append(chosen, c)
	}
	slices.SortFunc(chosen, func(a, b api.Container) int { return strings.Compare(a.Name, b.Name) })
	return chosen
}

func (a *app) printContainers(list []api.Container, f *psFlags) error {
	switch {
	case f.quiet:
		for _, c := range list {
			fmt.Fprintln(a.out, c.ID)
		}
		return nil
	case f.services:
		var names []string
		for _, c := range list {
			if !slices.Contains(names, c.Service) {
				names = append(names, c.Service)
			}
		}
		fmt.Fprintln(a.out, strings.Join(names, "\n"))
		return nil
	}
	rows := make([]composeRow, 0, len(list))
	for _, c := range list {
		rows = append(rows, newComposeRow(c, !f.noTruncate))
	}
	const table = `{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}`
	return listing.Templated(a.out, f.format, table, composeHeaders, rows)
}
