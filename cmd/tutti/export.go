package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// exportCommand is docker compose's export.
func (a *app) exportCommand() *cobra.Command {
	var output string
	var index int
	cmd := &cobra.Command{
		Use:         "export [OPTIONS] SERVICE",
		Short:       "Export a service container's filesystem as a tar archive",
		Args:        exactArgs(1),
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, target, err := a.serviceTarget(ctx, args[0], index)
			if err != nil {
				return err
			}
			if _, tty := terminal(a.out); tty && output == "" {
				return errors.New("output option is required when exporting to terminal")
			}
			d := a.display(ctx, "export", displayOptions{})
			defer d.Close()
			event := api.Event{Kind: api.KindResource, Resource: "Container", Name: target.Name, Status: "Exporting", Phase: api.PhaseWorking}
			d.Event(event)
			if !a.dryRun {
				err = a.export(ctx, c, target.ID, output)
			}
			event.Status, event.Phase = "Exported", api.PhaseDone
			if err != nil {
				event.Status, event.Phase = "Error", api.PhaseError
			}
			d.Event(event)
			return err
		}),
	}
	cmd.Flags().IntVar(&index, "index", 0, "index of the container if service has multiple replicas.")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

// serviceTarget finds the container of a service that a command is about, running or not.
func (a *app) serviceTarget(ctx context.Context, service string, index int) (*api.Client, api.Container, error) {
	c, all, err := a.projectContainers(ctx)
	if err != nil {
		return nil, api.Container{}, err
	}
	target, err := serviceContainer(all, service, index)
	return c, target, err
}

// export writes a container's file system to a file, which is there whole or not at all, or to standard output.
func (a *app) export(ctx context.Context, c *api.Client, id, output string) error {
	answer, err := c.Open(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/export", nil)
	if err != nil {
		return err
	}
	defer answer.Close() //nolint:errcheck // reads only
	return a.writeArchive(output, answer)
}

// writeArchive writes to a file, or to standard output with "" or "-".
func (a *app) writeArchive(output string, from io.Reader) error {
	if output != "" && output != "-" {
		return writeWhole(output, from)
	}
	_, err := io.Copy(a.out, from)
	return err
}

func (a *app) containerExportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] CONTAINER",
		Short: "Export a container's filesystem as a tar archive",
		Args:  exactArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if _, tty := terminal(a.out); tty && output == "" {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			return a.export(ctx, c, args[0], output)
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

func (a *app) containerDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "diff CONTAINER",
		Short:       "Inspect changes to files or directories on a container's filesystem",
		Args:        exactArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			list, err := get[[]container.FilesystemChange](ctx, a, "/containers/"+url.PathEscape(args[0])+"/changes")
			if err != nil {
				return err
			}
			for _, change := range list {
				fmt.Fprintln(a.out, change.Kind.String(), change.Path)
			}
			return nil
		}),
	}
}
