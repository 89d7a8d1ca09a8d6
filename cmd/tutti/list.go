package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

// projectRow is a line of `ls`, with docker compose's field names.
type projectRow struct{ Name, Status, ConfigFiles string }

func (a *app) listCommand() *cobra.Command {
	var format string
	var quiet, all bool
	var filters []string
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS]",
		Short:       "List running compose projects",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			match, err := nameFilter(filters)
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			projects, err := c.Projects(ctx)
			if err != nil {
				return err
			}
			rows := projectRows(projects, all, match)
			if quiet {
				for _, r := range rows {
					fmt.Fprintln(a.out, r.Name)
				}
				return nil
			}
			return listing.Pretty(a.out, format, []string{"NAME", "STATUS", "CONFIG FILES"}, rows,
				func(r projectRow) []string { return []string{r.Name, r.Status, r.ConfigFiles} }, "")
		}),
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "table", "Format the output. Values: [table | json]")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display project names")
	f.StringArrayVar(&filters, "filter", nil, "Filter output based on conditions provided")
	f.BoolVarP(&all, "all", "a", false, "Show all stopped Compose projects")
	return cmd
}

// nameFilter reads --filter name=REGEXP; several are alternatives.
func nameFilter(filters []string) (func(string) bool, error) {
	var patterns []*regexp.Regexp
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		if !ok || key != "name" {
			return nil, fmt.Errorf("invalid filter '%s'", key)
		}
		re, err := regexp.Compile(value)
		if err != nil {
			return nil, fmt.Errorf("invalid filter %q: %w", f, err)
		}
		patterns = append(patterns, re)
	}
	return func(name string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(name) })
	}, nil
}

// projectRows makes the lines of `ls`. Without all, stopped containers are left out, and projects that have no others.
func projectRows(projects []api.Project, all bool, match func(string) bool) []projectRow {
	rows := []projectRow{}
	for _, p := range projects {
		status := p.Status
		if !all {
			states := slices.DeleteFunc(strings.Split(status, ", "), func(s string) bool {
				state, _, _ := strings.Cut(s, "(")
				return !slices.Contains(liveStates, state)
			})
			status = strings.Join(states, ", ")
		}
		if status != "" && match(p.Name) {
			rows = append(rows, projectRow{p.Name, status, strings.Join(p.ConfigFiles, ",")})
		}
	}
	slices.SortFunc(rows, func(a, b projectRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}
