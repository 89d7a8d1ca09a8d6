package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/cli/templates"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

// diskUsage is the engine's answer, of which only the sums with their items are read.
type diskUsage struct {
	ImageUsage      image.DiskUsage
	ContainerUsage  container.DiskUsage
	VolumeUsage     volume.DiskUsage
	BuildCacheUsage build.DiskUsage
}

// usageRow is a line of `system df`, with docker's field names.
type usageRow struct{ Active, Reclaimable, Size, TotalCount, Type string }

var usageHeaders = listing.Headers{"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}

func newUsageRow(kind string, total, active, size, reclaimable int64, percent bool) usageRow {
	r := usageRow{
		Type: kind, TotalCount: strconv.FormatInt(total, 10), Active: strconv.FormatInt(active, 10), Size: units.HumanSize(float64(size)),
		Reclaimable: units.HumanSize(float64(reclaimable)),
	}
	if percent && size > 0 {
		r.Reclaimable += fmt.Sprintf(" (%d%%)", reclaimable*100/size)
	}
	return r
}

func (a *app) systemDiskUsageCommand() *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:         "df [OPTIONS]",
		Short:       "Show disk usage",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			u, err := get[diskUsage](ctx, a, "/system/df")
			if err != nil {
				return err
			}
			if verbose {
				return a.printUsageInFull(u, format)
			}
			i, n, v, b := u.ImageUsage, u.ContainerUsage, u.VolumeUsage, u.BuildCacheUsage
			rows := []usageRow{
				newUsageRow("Images", i.TotalCount, i.ActiveCount, i.TotalSize, i.Reclaimable, true),
				newUsageRow("Containers", n.TotalCount, n.ActiveCount, n.TotalSize, n.Reclaimable, true),
				newUsageRow("Local Volumes", v.TotalCount, v.ActiveCount, v.TotalSize, v.Reclaimable, true),
				newUsageRow("Build Cache", b.TotalCount, b.ActiveCount, b.TotalSize, b.Reclaimable, false),
			}
			return listing.Templated(a.out, format, `{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`, usageHeaders, rows)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "", formatHelp)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show detailed information on space usage")
	return cmd
}

// fullUsage is what a template of `system df -v` sees.
type fullUsage struct {
	Images     []imageRow
	Containers []containerRow
	Volumes    []volumeRow
	BuildCache []cacheRow
}

// cacheRow is a record of the build cache, with docker's field names.
type cacheRow struct {
	CacheType, CreatedAt, CreatedSince, Description, ID, InUse, LastUsedAt, LastUsedSince, Parent, Shared, Size, UsageCount string
}

var cacheHeaders = listing.Headers{
	"ID": "CACHE ID", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED", "LastUsedSince": "LAST USED", "UsageCount": "USAGE",
	"Shared": "SHARED", "InUse": "IN USE", "Parent": "PARENT", "Description": "DESCRIPTION",
}

func newCacheRow(r build.CacheRecord, full bool) cacheRow {
	row := cacheRow{
		CacheType: r.Type, CreatedAt: r.CreatedAt.String(), CreatedSince: listing.Ago(r.CreatedAt, time.Now()), Description: r.Description,
		ID: shortUnless(full, r.ID), InUse: strconv.FormatBool(r.InUse), Parent: shortUnless(full, strings.Join(r.Parents, ", ")),
		Shared: strconv.FormatBool(r.Shared), Size: listing.Size(r.Size), UsageCount: strconv.Itoa(r.UsageCount),
	}
	if r.InUse {
		row.ID += "*"
	}
	if r.LastUsedAt != nil {
		row.LastUsedAt, row.LastUsedSince = r.LastUsedAt.String(), listing.Ago(*r.LastUsedAt, time.Now())
	}
	return row
}

// newFullUsage makes rows of everything; full says that ids are not cut.
func newFullUsage(u diskUsage, full bool) fullUsage {
	f := fullUsage{Images: []imageRow{}, Containers: []containerRow{}, Volumes: []volumeRow{}, BuildCache: []cacheRow{}}
	for _, i := range u.ImageUsage.Items {
		row := imageRows(i, full)[0] // docker shows the first name
		row.Containers, row.SharedSize, row.UniqueSize = strconv.FormatInt(i.Containers, 10), listing.Size(i.SharedSize), listing.Size(i.Size-i.SharedSize)
		f.Images = append(f.Images, row)
	}
	for _, c := range u.ContainerUsage.Items {
		row := newContainerRow(c, full)
		row.Size = listing.Size(c.SizeRw)
		f.Containers = append(f.Containers, row)
	}
	for _, v := range u.VolumeUsage.Items {
		row := newVolumeRow(v)
		if v.UsageData != nil {
			row.Links, row.Size = strconv.FormatInt(v.UsageData.RefCount, 10), listing.Size(v.UsageData.Size)
		}
		f.Volumes = append(f.Volumes, row)
	}
	slices.SortFunc(u.BuildCacheUsage.Items, func(a, b build.CacheRecord) int {
		return cmp.Or(lastUsed(a).Compare(lastUsed(b)), cmp.Compare(a.ID, b.ID))
	})
	for _, r := range u.BuildCacheUsage.Items {
		f.BuildCache = append(f.BuildCache, newCacheRow(r, full))
	}
	return f
}

func lastUsed(r build.CacheRecord) time.Time {
	if r.LastUsedAt == nil {
		return time.Time{}
	}
	return *r.LastUsedAt
}

// printUsageInFull lists everything, in docker's four tables or through a template that sees all of it.
func (a *app) printUsageInFull(u diskUsage, format string) error {
	if strings.HasPrefix(format, "table ") {
		return errors.New("the table format takes no template with --verbose: give a template without \"table\"")
	}
	if format != "" && format != "table" {
		if format == "json" {
			format = "{{json .}}"
		}
		tmpl, err := templates.Parse(format)
		if err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		var out bytes.Buffer
		if err := tmpl.Execute(&out, newFullUsage(u, true)); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		out.WriteByte('\n')
		_, err = out.WriteTo(a.out)
		return err
	}
	f := newFullUsage(u, false)
	sections := []func() error{
		func() error {
			fmt.Fprint(a.out, "Images space usage:\n\n")
			return listing.Templated(a.out, "", `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}`, imageHeaders, f.Images)
		},
		func() error {
			fmt.Fprint(a.out, "\nContainers space usage:\n\n")
			return listing.Templated(a.out, "", `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}`, containerHeaders, f.Containers)
		},
		func() error {
			fmt.Fprint(a.out, "\nLocal Volumes space usage:\n\n")
			return listing.Templated(a.out, "", `{{.Name}}\t{{.Links}}\t{{.Size}}`, volumeHeaders, f.Volumes)
		},
		func() error {
			fmt.Fprintf(a.out, "\nBuild cache usage: %s\n\n", units.HumanSize(float64(u.BuildCacheUsage.TotalSize)))
			return listing.Templated(a.out, "", `{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}`, cacheHeaders, f.BuildCache)
		},
	}
	for _, print := range sections {
		if err := print(); err != nil {
			return err
		}
	}
	return nil
}
