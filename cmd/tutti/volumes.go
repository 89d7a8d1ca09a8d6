package main

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// volumesCommand lists the volumes of a project, in the columns of `volume ls`.
func (a *app) volumesCommand() *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:         "volumes [OPTIONS] [SERVICE...]",
		Short:       "List volumes",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			rows, err := a.projectVolumes(ctx, services)
			if err != nil {
				return err
			}
			return a.showVolumes(rows, format, quiet)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "table", formatHelp)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	return cmd
}

// projectVolumes are the volumes that carry the project's label, with services named only those that their containers use.
func (a *app) projectVolumes(ctx context.Context, services []string) ([]volumeRow, error) {
	p, name, err := a.projectOrName(ctx, services)
	if err != nil {
		return nil, err
	}
	if err := knownServices(p, services); err != nil {
		return nil, err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	var list volume.ListResponse
	if err := c.Call(ctx, http.MethodGet, "/volumes", nil, &list); err != nil {
		return nil, err
	}
	all, err := c.Containers(ctx, name)
	if err != nil {
		return nil, err
	}
	used := func(v string) bool {
		return len(services) == 0 || slices.ContainsFunc(all, func(c api.Container) bool {
			return slices.Contains(services, c.Service) && slices.Contains(c.Mounts, v)
		})
	}
	slices.SortFunc(list.Volumes, func(a, b volume.Volume) int { return strings.Compare(a.Name, b.Name) })
	var rows []volumeRow
	for _, v := range list.Volumes {
		if v.Labels[api.LabelProject] == name && used(v.Name) {
			rows = append(rows, newVolumeRow(v))
		}
	}
	return rows, nil
}
