package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

func (a *app) topCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:         "top [SERVICES...]",
		Short:       "Display the running processes",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			c, name, err := a.connectProject(ctx)
			if err != nil {
				return err
			}
			var all []api.Processes
			q := url.Values{"service": services}
			if err := c.Get(ctx, api.Prefix+"/projects/"+url.PathEscape(name)+"/top?"+q.Encode(), &all); err != nil {
				return err
			}
			switch format {
			case "", "table":
				return printProcesses(a.out, all)
			case "json":
				return listing.JSON(a.out, all, "")
			}
			return fmt.Errorf("format value %q could not be parsed: parsing failed", format)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "table", "Format the output. Values: [table | json]")
	return cmd
}

// printProcesses prints one table of all containers' processes, as docker compose does. Without any it prints nothing.
func printProcesses(out io.Writer, all []api.Processes) error {
	all = slices.DeleteFunc(slices.Clone(all), func(p api.Processes) bool { return len(p.Rows) == 0 })
	if len(all) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 4, 1, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(append([]string{"SERVICE", "#"}, all[0].Titles...), "\t"))
	for _, p := range all {
		for _, r := range p.Rows {
			fmt.Fprintln(w, strings.Join(append([]string{p.Service, strconv.Itoa(p.Number)}, r...), "\t"))
		}
	}
	return w.Flush()
}
