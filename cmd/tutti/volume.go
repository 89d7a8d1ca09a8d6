package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

var volumesNotYet = []notYet{{"update", "Update a volume (cluster volumes only)"}}

// volumeCommand holds docker's management commands of volumes.
func (a *app) volumeCommand() *cobra.Command {
	return objectCommand("volume", "Manage volumes", volumesNotYet, a.volumeListCommand(), a.volumeCreateCommand(),
		a.inspectCommand("volume", "Display detailed information on one or more volumes", "/volumes/%s", func() any { return new(volume.Volume) }, nil),
		a.removeCommand("volume", "Remove one or more volumes", "/volumes/%s"),
		a.pruneCommand(volumePruner, "Remove unused local volumes", func(cmd *cobra.Command, o *pruneOptions) {
			cmd.Flags().BoolVarP(&o.all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
		}))
}

// volumeRow is a volume as `docker volume ls` shows it.
type volumeRow struct {
	Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string

	labels map[string]string
}

// Label is the value of one label, for templates.
func (r volumeRow) Label(name string) string { return r.labels[name] }

func newVolumeRow(v volume.Volume) volumeRow {
	return volumeRow{
		Availability: "N/A", Driver: v.Driver, Group: "N/A", Labels: listing.Labels(v.Labels),
		Links: "N/A", Mountpoint: v.Mountpoint, Name: v.Name, Scope: v.Scope, Size: "N/A", Status: "N/A", labels: v.Labels,
	}
}

var volumeHeaders = listing.Headers{
	"Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT",
	"Labels": "LABELS", "Links": "LINKS", "Size": "SIZE", "Group": "GROUP", "Availability": "AVAILABILITY", "Status": "STATUS",
}

func (a *app) volumeListCommand() *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS]",
		Short:       "List volumes",
		Aliases:     []string{"list"},
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			list, err := get[volume.ListResponse](ctx, a, "/volumes")
			if err != nil {
				return err
			}
			slices.SortFunc(list.Volumes, func(a, b volume.Volume) int { return strings.Compare(a.Name, b.Name) })
			rows := make([]volumeRow, 0, len(list.Volumes))
			for _, v := range list.Volumes {
				rows = append(rows, newVolumeRow(v))
			}
			return a.showVolumes(rows, format, quiet)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "", formatHelp)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	refuse(cmd, refusal{name: "filter", short: "f"}, refusal{name: "cluster", isBool: true})
	return cmd
}

// showVolumes prints volumes by a template, or their names alone.
func (a *app) showVolumes(rows []volumeRow, format string, quiet bool) error {
	if quiet {
		for _, r := range rows {
			fmt.Fprintln(a.out, r.Name)
		}
		return nil
	}
	return listing.Templated(a.out, format, `{{.Driver}}\t{{.Name}}`, volumeHeaders, rows)
}

func (a *app) volumeCreateCommand() *cobra.Command {
	var request volume.CreateRequest
	var labels []string
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [VOLUME]",
		Short: "Create a volume",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if len(args) > 0 {
				request.Name = args[0]
			}
			request.Labels = map[string]string{}
			for _, l := range labels {
				k, v, _ := strings.Cut(l, "=")
				request.Labels[k] = v
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var created volume.Volume
			if err := c.Call(ctx, http.MethodPost, "/volumes/create", request, &created); err != nil {
				return err
			}
			fmt.Fprintln(a.out, created.Name)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&request.Driver, "driver", "d", "local", "Specify volume driver name")
	f.StringToStringVarP(&request.DriverOpts, "opt", "o", nil, "Set driver specific options")
	f.StringArrayVar(&labels, "label", nil, "Set metadata for a volume")
	return cmd
}
