package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

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
	var query func() (url.Values, error)
	cmd := &cobra.Command{
		Use:         "history [OPTIONS] IMAGE",
		Short:       "Show the history of an image",
		Args:        exactArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			q, err := query()
			if err != nil {
				return err
			}
			items, err := get[[]image.HistoryResponseItem](ctx, a, "/images/"+url.PathEscape(args[0])+"/history?"+q.Encode())
			if err != nil {
				return err
			}
			var rows []historyRow
			for _, i := range items {
				rows = append(rows, newHistoryRow(i, human, noTruncate))
			}
			if quiet {
				for _, r := range rows {
					fmt.Fprintln(a.out, r.ID)
				}
				return nil
			}
			when := "CreatedSince"
			if !human {
				when = "CreatedAt"
			}
			return listing.Templated(a.out, format, `{{.ID}}\t{{.`+when+`}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`, historyHeaders, rows)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "", "Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	cmd.Flags().BoolVar(&noTruncate, "no-trunc", false, "Don't truncate output")
	cmd.Flags().BoolVarP(&human, "human", "H", true, "Print sizes and dates in human readable format")
	query = onePlatform("Show history for the given platform")(cmd.Flags())
	return cmd
}

// newHistoryRow: without human, times and sizes are those that programs read.
func newHistoryRow(i image.HistoryResponseItem, human, noTruncate bool) historyRow {
	created := time.Unix(i.Created, 0)
	row := historyRow{
		Comment: i.Comment, CreatedAt: created.Format(time.RFC3339), CreatedBy: strings.ReplaceAll(i.CreatedBy, "\t", " "), ID: i.ID,
		CreatedSince: listing.Ago(created, time.Now()), Size: listing.Size(i.Size),
	}
	switch {
	case !human:
		row.CreatedSince, row.Size = row.CreatedAt, fmt.Sprint(i.Size)
	case i.Created == 0:
		row.CreatedSince = "N/A"
	}
	if !noTruncate {
		row.ID, row.CreatedBy = listing.ShortID(row.ID), listing.Ellipsis(row.CreatedBy, 45)
	}
	return row
}
