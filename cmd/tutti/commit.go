package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// commitFlags are those of both kinds of commit.
type commitFlags struct {
	author, message string
	changes         []string
	pause           bool
}

func (f *commitFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	flags.StringArrayVarP(&f.changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	flags.StringVarP(&f.message, "message", "m", "", "Commit message")
	flags.BoolVarP(&f.pause, "pause", "p", true, "Pause container during commit")
}

// imageQuery is the name of a new image as docker's API takes it.
func imageQuery(name string) (url.Values, error) {
	q := url.Values{}
	if name == "" {
		return q, nil
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fmt.Errorf("invalid reference %q: %w", name, err)
	}
	if _, digested := ref.(reference.Canonical); digested {
		return nil, fmt.Errorf("invalid reference %q: refusing to create a tag with a digest reference", name)
	}
	q.Set("repo", reference.FamiliarName(ref))
	if tagged, ok := ref.(reference.Tagged); ok {
		q.Set("tag", tagged.Tag())
	}
	return q, nil
}

// commit makes an image of a container and returns its ID.
func (f *commitFlags) commit(ctx context.Context, c *api.Client, id, name string) (string, error) {
	q, err := imageQuery(name)
	if err != nil {
		return "", err
	}
	q.Set("container", id)
	q.Set("author", f.author)
	q.Set("comment", f.message)
	q.Set("pause", strconv.FormatBool(f.pause))
	q["changes"] = f.changes
	var made container.CommitResponse
	err = c.Call(ctx, http.MethodPost, "/commit?"+q.Encode(), nil, &made)
	return made.ID, err
}

// commitCommand is docker compose's commit.
func (a *app) commitCommand() *cobra.Command {
	var f commitFlags
	var index int
	cmd := &cobra.Command{
		Use:         "commit [OPTIONS] SERVICE [REPOSITORY[:TAG]]",
		Short:       "Create a new image from a service container's changes",
		Args:        cobra.RangeArgs(1, 2),
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, target, err := a.serviceTarget(ctx, args[0], index)
			if err != nil {
				return err
			}
			d := a.display(ctx, "commit", displayOptions{})
			defer d.Close()
			event := api.Event{Kind: api.KindResource, Resource: "Container", Name: target.Name, Status: "Committing", Phase: api.PhaseWorking}
			d.Event(event)
			status := "Committed"
			if !a.dryRun {
				var id string
				id, err = f.commit(ctx, c, target.ID, optional(args, 1))
				status = "Committed as " + id
			}
			event.Status, event.Phase = status, api.PhaseDone
			if err != nil {
				event.Status, event.Phase = "Error", api.PhaseError
			}
			d.Event(event)
			return err
		}),
	}
	f.add(cmd)
	cmd.Flags().IntVar(&index, "index", 0, "index of the container if service has multiple replicas.")
	return cmd
}

// optional is an argument that need not be there.
func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func (a *app) containerCommitCommand() *cobra.Command {
	var f commitFlags
	cmd := &cobra.Command{
		Use:   "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short: "Create a new image from a container's changes",
		Args:  cobra.RangeArgs(1, 2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			id, err := f.commit(ctx, c, args[0], optional(args, 1))
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, id)
			return nil
		}),
	}
	f.add(cmd)
	return cmd
}
