package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/build"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

// builderCommand holds docker's management commands of the build cache, and buildx's du.
func (a *app) builderCommand() *cobra.Command {
	return objectCommand("builder", "Manage builds", nil, a.imageBuildCommand(), a.builderUsageCommand(),
		a.pruneCommand(buildCachePruner, "Remove build cache", func(cmd *cobra.Command, o *pruneOptions) {
			cmd.Flags().BoolVarP(&o.all, "all", "a", false, "Remove all unused build cache, not just dangling ones")
			cmd.Flags().StringVar(&o.keep, "keep-storage", "", "Amount of disk space to keep for cache")
			cmd.Flags().StringVar(&o.keep, "reserved-space", "", "Amount of disk space always allowed to keep for cache")
			cmd.Flags().StringVar(&o.maxUsed, "max-used-space", "", "Maximum amount of disk space allowed to keep for cache")
			cmd.Flags().StringVar(&o.minFree, "min-free-space", "", "Target amount of free disk space after pruning")
			refuse(cmd, refusal{name: "builder"}, refusal{name: "timeout"}, refusal{name: "verbose", isBool: true})
		}))
}

// recordRow is a record of the build cache as buildx shows it.
type recordRow struct {
	CreatedAt, Description, ID, LastUsedAt, Size, Type string
	Parents                                            []string
	Mutable, Reclaimable, Shared                       bool
	UsageCount                                         int
}

var recordHeaders = listing.Headers{
	"ID": "ID", "Parents": "PARENTS", "CreatedAt": "CREATED AT", "Mutable": "MUTABLE", "Reclaimable": "RECLAIMABLE", "Shared": "SHARED",
	"Size": "SIZE", "Description": "DESCRIPTION", "UsageCount": "USAGE COUNT", "LastUsedAt": "LAST ACCESSED", "Type": "TYPE",
}

// prettyRecord is buildx's template for --verbose.
const prettyRecord = `ID:           {{.ID}}
{{- if .Parents }}
Parents:
{{- range .Parents }}
 - {{.}}
{{- end }}
{{- end }}
Created at:   {{.CreatedAt}}
Mutable:      {{.Mutable}}
Reclaimable:  {{.Reclaimable}}
Shared:       {{.Shared}}
Size:         {{.Size}}
{{- if .Description}}
Description:  {{ .Description }}
{{- end }}
Usage count:  {{.UsageCount}}
{{- if .LastUsedAt}}
Last used:    {{ .LastUsedAt }}
{{- end }}
{{- if .Type}}
Type:         {{ .Type }}
{{- end }}
`

func (a *app) builderUsageCommand() *cobra.Command {
	var format string
	var filters []string
	var verbose bool
	cmd := &cobra.Command{
		Use:         "du [OPTIONS]",
		Short:       "Disk usage",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			if format != "" && verbose {
				return errors.New("--format and --verbose cannot be used together")
			}
			records, err := a.buildRecords(ctx, filters)
			if err != nil {
				return err
			}
			table := format == "" || strings.HasPrefix(format, "table")
			if verbose || format == "pretty" {
				format, table = prettyRecord, false
			}
			rows := make([]recordRow, 0, len(records))
			for _, r := range records {
				rows = append(rows, newRecordRow(r, table && !verbose))
			}
			err = listing.Templated(a.out, format, `{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}`, recordHeaders, rows)
			if err != nil || len(filters) > 0 || format != "" && format != "table" && format != prettyRecord {
				return err
			}
			return a.printRecordSums(records)
		}),
	}
	f := cmd.Flags()
	f.StringArrayVar(&filters, "filter", nil, "Provide filter values")
	f.BoolVar(&verbose, "verbose", false, `Shorthand for "--format=pretty"`)
	f.StringVar(&format, "format", "", "Format the output")
	refuse(cmd, refusal{name: "builder"}, refusal{name: "timeout"})
	return cmd
}

// buildRecords asks for the records that pass the filters, those that were used last first.
func (a *app) buildRecords(ctx context.Context, flags []string) ([]build.CacheRecord, error) {
	match, err := recordMatcher(flags)
	if err != nil {
		return nil, err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	var u struct{ BuildCache []build.CacheRecord }
	if err := c.Call(ctx, http.MethodGet, "/system/df?type=build-cache", nil, &u); err != nil {
		return nil, err
	}
	u.BuildCache = slices.DeleteFunc(u.BuildCache, func(r build.CacheRecord) bool { return !match(r) })
	slices.SortStableFunc(u.BuildCache, func(a, b build.CacheRecord) int { return lastUsed(b).Compare(lastUsed(a)) })
	return u.BuildCache, nil
}

// recordMatcher reads buildx's filters.
func recordMatcher(flags []string) (func(build.CacheRecord) bool, error) {
	var all []func(build.CacheRecord) bool
	for _, text := range flags {
		name, value, valued := strings.Cut(text, "=")
		var m func(r build.CacheRecord) bool
		switch {
		case name == "id" && valued:
			m = func(r build.CacheRecord) bool { return strings.Contains(r.ID, value) }
		case name == "parents" && valued:
			m = func(r build.CacheRecord) bool { return slices.Contains(r.Parents, value) }
		case name == "type" && valued:
			m = func(r build.CacheRecord) bool { return r.Type == value }
		case name == "description" && valued:
			m = func(r build.CacheRecord) bool { return strings.Contains(r.Description, strings.TrimPrefix(value, "~")) }
		case name == "inuse":
			m = func(r build.CacheRecord) bool { return r.InUse == (value != "false") }
		case name == "shared":
			m = func(r build.CacheRecord) bool { return r.Shared == (value != "false") }
		case name == "private":
			m = func(r build.CacheRecord) bool { return r.Shared == (value == "false") }
		case name == "until" && valued:
			age, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("invalid filter %q: %w", text, err)
			}
			m = func(r build.CacheRecord) bool { return time.Since(lastUsed(r)) > age }
		default:
			return nil, fmt.Errorf("invalid filter %q: give id=, parents=, type=, description=, until=, inuse, shared or private", text)
		}
		all = append(all, m)
	}
	return func(r build.CacheRecord) bool {
		return !slices.ContainsFunc(all, func(m func(build.CacheRecord) bool) bool { return !m(r) })
	}, nil
}

func newRecordRow(r build.CacheRecord, table bool) recordRow {
	row := recordRow{
		CreatedAt: r.CreatedAt.String(), Description: r.Description, ID: r.ID, Size: units.HumanSize(float64(r.Size)), Type: r.Type, Parents: r.Parents,
		Reclaimable: !r.InUse, Shared: r.Shared, UsageCount: r.UsageCount,
	}
	if table && r.Shared {
		row.Size += "*"
	}
	if r.LastUsedAt != nil {
		row.LastUsedAt = units.HumanDuration(time.Since(*r.LastUsedAt)) + " ago"
	}
	return row
}

// printRecordSums ends the list as buildx does.
func (a *app) printRecordSums(records []build.CacheRecord) error {
	var total, reclaimable, shared int64
	for _, r := range records {
		total += max(r.Size, 0)
		if !r.InUse {
			reclaimable += max(r.Size, 0)
		}
		if r.Shared {
			shared += r.Size
		}
	}
	tw := tabwriter.NewWriter(a.out, 1, 8, 1, '\t', 0)
	if shared > 0 {
		fmt.Fprintf(tw, "Shared:\t%s\nPrivate:\t%s\n", units.HumanSize(float64(shared)), units.HumanSize(float64(total-shared)))
	}
	fmt.Fprintf(tw, "Reclaimable:\t%s\nTotal:\t%s\n", units.HumanSize(float64(reclaimable)), units.HumanSize(float64(total)))
	return tw.Flush()
}
