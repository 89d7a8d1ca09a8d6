package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

func (a *app) imagePruneCommand() *cobra.Command {
	var all, force bool
	var filters []string
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused images",
		Args:  noArgs,
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			f, err := pruneFilters(filters)
			if err != nil {
				return err
			}
			f["dangling"] = []string{fmt.Sprint(!all)}
			warning := "WARNING! This will remove all dangling images."
			if all {
				warning = "WARNING! This will remove all images without at least one container associated to them."
			}
			if !force {
				fmt.Fprintln(a.out, warning)
				if !a.confirm("Are you sure you want to continue?") {
					return nil
				}
			}
			text, err := json.Marshal(f)
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var report image.PruneReport
			if err := c.Call(ctx, http.MethodPost, "/images/prune?"+url.Values{"filters": {string(text)}}.Encode(), nil, &report); err != nil {
				return err
			}
			if len(report.ImagesDeleted) > 0 {
				fmt.Fprintln(a.out, "Deleted Images:")
			}
			for _, d := range report.ImagesDeleted {
				if d.Untagged != "" {
					fmt.Fprintln(a.out, "untagged:", d.Untagged)
				} else {
					fmt.Fprintln(a.out, "deleted:", d.Deleted)
				}
			}
			if len(report.ImagesDeleted) > 0 {
				fmt.Fprintln(a.out)
			}
			fmt.Fprintln(a.out, "Total reclaimed space:", units.HumanSize(float64(report.SpaceReclaimed)))
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not just dangling ones")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().StringArrayVar(&filters, "filter", nil, `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

// pruneFilters reads --filter of the prune commands: NAME=VALUE, or NAME!=VALUE for what must not be.
func pruneFilters(flags []string) (map[string][]string, error) {
	filters := map[string][]string{}
	for _, text := range flags {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("invalid argument %q for \"--filter\" flag: give NAME=VALUE", text)
		}
		filters[name] = append(filters[name], value)
	}
	return filters, nil
}

// historyRow is a line of `image history`, with docker's field names.
type historyRow struct {
	Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string
}

var historyHeaders = listing.Headers{
	"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
}

func (a *app) imageHistoryCommand() *cobra.Command {
	var format string
	var quiet, noTruncate, human bool
	cmd := &cobra.Command{
		Use:         "history [OPTIONS] IMAGE",
		Short:       "Show the history of an image",
		Args:        exactArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var items []image.HistoryResponseItem
			if err := c.Call(ctx, http.MethodGet, "/images/"+url.PathEscape(args[0])+"/history", nil, &items); err != nil {
				return err
			}
			var rows []historyRow
			for _, i := range items {
				created := time.Unix(i.Created, 0)
				row := historyRow{
					Comment: i.Comment, CreatedAt: created.Format(time.RFC3339), CreatedSince: listing.Ago(created, time.Now()),
					CreatedBy: strings.ReplaceAll(i.CreatedBy, "\t", " "), ID: i.ID, Size: fmt.Sprint(i.Size),
				}
				if i.Created == 0 {
					row.CreatedSince = "N/A"
				}
				if human {
					row.Size = listing.Size(i.Size)
				}
				if !noTruncate {
					row.ID, row.CreatedBy = listing.ShortID(row.ID), listing.Ellipsis(row.CreatedBy, 45)
				}
				rows = append(rows, row)
			}
			if quiet {
				for _, r := range rows {
					fmt.Fprintln(a.out, r.ID)
				}
				return nil
			}
			return listing.Templated(a.out, format, `{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`, historyHeaders, rows)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "", "Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	cmd.Flags().BoolVar(&noTruncate, "no-trunc", false, "Don't truncate output")
	cmd.Flags().BoolVarP(&human, "human", "H", true, "Print sizes and dates in human readable format")
	refuse(cmd, refusal{name: "platform"})
	return cmd
}
