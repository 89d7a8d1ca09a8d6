package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"
)

// imageCommand holds docker's management commands of images.
func (a *app) imageCommand() *cobra.Command {
	return objectCommand("image", "Manage images", nil, a.imageBuildCommand(), a.imageListCommand(), a.imageImportCommand(), a.imageLoadCommand(), a.imagePullCommand(),
		a.imagePushCommand(), a.imageSaveCommand(), a.pruneCommand(imagePruner, "Remove unused images", func(cmd *cobra.Command, o *pruneOptions) {
			cmd.Flags().BoolVarP(&o.all, "all", "a", false, "Remove all unused images, not just dangling ones")
		}), a.imageHistoryCommand(),
		a.imageRemoveCommand(), a.imageTagCommand(),
		a.inspectCommand("image", "Display detailed information on one or more images", "/images/%s/json", func() any { return new(image.InspectResponse) }, onePlatform("Inspect a specific platform of the multi-platform image")))
}

// messages reads docker's stream of progress messages to its end; an error in it is the answer's.
func messages(r io.Reader, emit func(jsonstream.Message)) error {
	d := json.NewDecoder(r)
	for {
		var m jsonstream.Message
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		case m.Error != nil:
			return errors.New(m.Error.Message)
		}
		emit(m)
	}
}

func (a *app) imageRemoveCommand() *cobra.Command {
	var force, noPrune bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] IMAGE [IMAGE...]",
		Short:   "Remove one or more images",
		Aliases: []string{"rmi", "remove"},
		Args:    minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var errs []error
			for _, n := range names {
				var gone []image.DeleteResponse
				path := "/images/" + url.PathEscape(n) + "?force=" + strconv.FormatBool(force) + "&noprune=" + strconv.FormatBool(noPrune)
				if err := c.Call(ctx, http.MethodDelete, path, nil, &gone); err != nil {
					errs = append(errs, err)
				}
				for _, g := range gone {
					if g.Deleted != "" {
						fmt.Fprintln(a.out, "Deleted:", g.Deleted)
					} else {
						fmt.Fprintln(a.out, "Untagged:", g.Untagged)
					}
				}
			}
			return errors.Join(errs...)
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force removal of the image")
	cmd.Flags().BoolVar(&noPrune, "no-prune", false, "Do not delete untagged parents")
	refuse(cmd, refusal{name: "platform"})
	return cmd
}

func (a *app) imageTagCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		Args:  exactArgs(2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			ref, err := reference.ParseNormalizedNamed(args[1])
			if err != nil {
				return fmt.Errorf("invalid reference %q: %w", args[1], err)
			}
			if _, ok := ref.(reference.Canonical); ok {
				return errors.New("refusing to create a tag with a digest reference")
			}
			_, tag := splitReference(args[1])
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			q := url.Values{"repo": {reference.FamiliarName(ref)}, "tag": {tag}}
			return c.Call(ctx, http.MethodPost, "/images/"+url.PathEscape(args[0])+"/tag?"+q.Encode(), nil, nil)
		}),
	}
}
