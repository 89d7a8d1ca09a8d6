package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

// imageRow is one name of an image as `docker image ls` shows it.
type imageRow struct {
	Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize string
}

var imageHeaders = listing.Headers{
	"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST",
	"CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS",
	"SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
}

func (a *app) imageListCommand() *cobra.Command {
	var format string
	var all, quiet, digests, noTruncate bool
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS] [REPOSITORY[:TAG]]",
		Short:       "List images",
		Aliases:     []string{"list"},
		Args:        cobra.MaximumNArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var list []image.Summary
			if err := c.Call(ctx, http.MethodGet, "/images/json?all="+strconv.FormatBool(all), nil, &list); err != nil {
				return err
			}
			var rows []imageRow
			for _, i := range list {
				rows = append(rows, imageRows(i, noTruncate)...)
			}
			if len(args) > 0 {
				rows = slices.DeleteFunc(rows, func(r imageRow) bool { return r.Repository != args[0] && r.Repository+":"+r.Tag != args[0] })
			}
			if quiet {
				return a.printImageIDs(rows)
			}
			table := `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
			if digests {
				table = `{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
			}
			return listing.Templated(a.out, format, table, imageHeaders, rows)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", formatHelp)
	f.BoolVarP(&all, "all", "a", false, "Show all images (default hides intermediate and dangling images)")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	f.BoolVar(&digests, "digests", false, "Show digests")
	f.BoolVar(&noTruncate, "no-trunc", false, "Don't truncate output")
	refuse(cmd, refusal{name: "filter", short: "f"}, refusal{name: "tree", isBool: true})
	return cmd
}

func (a *app) printImageIDs(rows []imageRow) error {
	var seen []string
	for _, r := range rows {
		if !slices.Contains(seen, r.ID) {
			seen = append(seen, r.ID)
			fmt.Fprintln(a.out, r.ID)
		}
	}
	return nil
}

// imageRows are the lines of one image: one for each of its names, sorted, or one without.
func imageRows(i image.Summary, noTruncate bool) []imageRow {
	created := time.Unix(i.Created, 0)
	row := imageRow{
		Containers: "N/A", CreatedAt: created.String(), CreatedSince: listing.Ago(created, time.Now()), Digest: "<none>",
		ID: i.ID, Repository: "<none>", SharedSize: "N/A", Size: listing.Size(i.Size), Tag: "<none>", UniqueSize: "N/A",
	}
	if !noTruncate {
		row.ID = listing.ShortID(i.ID)
	}
	digests := map[string]string{}
	for _, d := range i.RepoDigests {
		if ref, err := reference.ParseNormalizedNamed(d); err == nil {
			_, digest, _ := strings.Cut(d, "@")
			digests[reference.FamiliarName(ref)] = digest
		}
	}
	var rows []imageRow
	for _, name := range slices.Sorted(slices.Values(i.RepoTags)) {
		repository, tag := splitReference(name)
		if repository == "" || name == "<none>:<none>" {
			continue
		}
		r := row
		r.Repository, r.Tag = repository, tag
		if d := digests[repository]; d != "" {
			r.Digest = d
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		for repository, d := range digests {
			row.Repository, row.Digest = repository, d
		}
		rows = append(rows, row)
	}
	return rows
}
