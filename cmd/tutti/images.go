package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

// usedImage is a line of `images`: the image of a container, with docker compose's field names.
type usedImage struct {
	ID            string     `json:"ID"`
	ContainerName string     `json:"ContainerName"`
	Repository    string     `json:"Repository"`
	Tag           string     `json:"Tag"`
	Platform      string     `json:"Platform"`
	Size          int64      `json:"Size"`
	Created       *time.Time `json:"Created,omitempty"`
	LastTagTime   time.Time  `json:"LastTagTime,omitzero"`
}

func (a *app) imagesCommand() *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:         "images [OPTIONS] [SERVICE...]",
		Short:       "List images used by the created containers",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			c, all, err := a.projectContainers(ctx)
			if err != nil {
				return err
			}
			rows, err := usedImages(ctx, c, (&psFlags{all: true, orphans: true}).choose(all, services))
			if err != nil {
				return err
			}
			return a.printUsedImages(rows, format, quiet)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "table", "Format the output. Values: [table | json]")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display IDs")
	return cmd
}

// usedImages describes the images of containers. One that has been removed meanwhile is known by its container only.
func usedImages(ctx context.Context, c *api.Client, containers []api.Container) ([]usedImage, error) {
	inspected := map[string]*image.InspectResponse{}
	rows := make([]usedImage, 0, len(containers))
	for _, ctr := range containers {
		row := usedImage{ID: ctr.ImageID, ContainerName: ctr.Name}
		row.Repository, row.Tag = splitReference(ctr.Image)
		i, ok := inspected[ctr.ImageID]
		if !ok {
			i = &image.InspectResponse{}
			err := c.Call(ctx, http.MethodGet, "/images/"+url.PathEscape(ctr.ImageID)+"/json", nil, i)
			var status *api.StatusError
			switch {
			case errors.As(err, &status) && status.Code == http.StatusNotFound:
				i = nil
			case err != nil:
				return nil, err
			}
			inspected[ctr.ImageID] = i
		}
		if i != nil {
			row.Platform = platforms.Format(ocispec.Platform{OS: i.Os, Architecture: i.Architecture, OSVersion: i.OsVersion, Variant: i.Variant})
			row.Size, row.LastTagTime = i.Size, i.Metadata.LastTagTime
			if t, err := time.Parse(time.RFC3339Nano, i.Created); err == nil {
				row.Created = &t
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// splitReference takes a reference apart the way users write it; an id has neither part.
func splitReference(s string) (repository, tag string) {
	if strings.HasPrefix(s, "sha256:") {
		return "", ""
	}
	ref, err := reference.ParseDockerRef(s)
	if err != nil {
		return "", ""
	}
	if t, ok := ref.(reference.Tagged); ok {
		tag = t.Tag()
	}
	return reference.FamiliarName(ref), tag
}

func (a *app) printUsedImages(rows []usedImage, format string, quiet bool) error {
	if quiet {
		var seen []string
		for _, r := range rows {
			if _, hex, ok := strings.Cut(r.ID, ":"); ok && !slices.Contains(seen, hex) {
				seen = append(seen, hex)
				fmt.Fprintln(a.out, hex)
			}
		}
		return nil
	}
	titles := []string{"CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"}
	return listing.Pretty(a.out, format, titles, rows, func(r usedImage) []string {
		created := "N/A"
		if r.Created != nil {
			created = listing.Ago(*r.Created, time.Now())
		}
		return []string{r.ContainerName, orNone(r.Repository), orNone(r.Tag), r.Platform, listing.ShortID(r.ID), listing.Size(r.Size), created}
	}, "\n")
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}
