package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
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
	var filters []string
	var all, quiet, digests, noTruncate, tree bool
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS] [REPOSITORY[:TAG]]",
		Short:       "List images",
		Aliases:     []string{"list"},
		Args:        cobra.MaximumNArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := treeAlone(tree, map[string]bool{"quiet": quiet, "no-trunc": noTruncate, "show-digest": digests, "format": format != ""}); err != nil {
				return err
			}
			list, err := a.listImages(ctx, args, filters, all)
			if err != nil {
				return err
			}
			if tree {
				return a.printImageTree(list)
			}
			var rows []imageRow
			for _, i := range list {
				rows = append(rows, imageRows(i, noTruncate)...)
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
	f.StringArrayVarP(&filters, "filter", "f", nil, "Filter output based on conditions provided")
	f.BoolVar(&tree, "tree", false, "List images as a tree: all names of one together (EXPERIMENTAL)")
	return cmd
}

// listImages asks for the images that the filters let through, of which one more is the argument. Those without a name are
// shown with --all, or when a filter asks for them.
func (a *app) listImages(ctx context.Context, args, flags []string, all bool) ([]image.Summary, error) {
	filters, err := pruneFilters(flags)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		filters["reference"] = append(filters["reference"], args[0])
	}
	text, err := json.Marshal(filters)
	if err != nil {
		return nil, err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	var list []image.Summary
	q := url.Values{"all": {strconv.FormatBool(all)}, "filters": {string(text)}}
	if err := c.Call(ctx, http.MethodGet, "/images/json?"+q.Encode(), nil, &list); err != nil {
		return nil, err
	}
	if _, asked := filters["dangling"]; !all && !asked {
		list = slices.DeleteFunc(list, func(i image.Summary) bool { return len(i.RepoTags)+len(i.RepoDigests) == 0 })
	}
	return list, nil
}

// treeAlone refuses what does not go together with --tree, in docker's words.
func treeAlone(tree bool, flags map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if tree && flags[name] {
			return fmt.Errorf("--%s is not yet supported with --tree", name)
		}
	}
	return nil
}

// printImageTree shows the names of each image together.
func (a *app) printImageTree(list []image.Summary) error {
	rows := [][]string{{"IMAGE", "ID", "DISK USAGE", "IN USE"}}
	for _, i := range list {
		used := ""
		if i.Containers > 0 {
			used = "U"
		}
		names := slices.Sorted(slices.Values(i.RepoTags))
		if len(names) == 0 {
			names = []string{"<untagged>"}
		}
		for n, name := range names {
			row := []string{name, "", "", ""}
			if n == 0 {
				row = []string{name, listing.ShortID(i.ID), listing.Size(i.Size), used}
			}
			rows = append(rows, row)
		}
	}
	return listing.Columns(a.out, rows)
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
