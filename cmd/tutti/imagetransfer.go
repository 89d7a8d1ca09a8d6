package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"
)

func (a *app) imagePushCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] NAME[:TAG]",
		Short: "Upload an image to a registry",
		Args:  exactArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			ref, err := reference.ParseNormalizedNamed(args[0])
			if err != nil {
				return fmt.Errorf("invalid reference %q: %w", args[0], err)
			}
			if _, digested := ref.(reference.Canonical); digested {
				return errors.New("cannot push a digest reference")
			}
			tagged, ok := reference.TagNameOnly(ref).(reference.NamedTagged)
			if !ok {
				return fmt.Errorf("invalid reference %q", args[0])
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			q := url.Values{"tag": {tagged.Tag()}, "tuttiDockerConfig": {a.dockerConfig()}}
			answer, err := c.Open(ctx, http.MethodPost, "/images/"+url.PathEscape(reference.FamiliarName(ref))+"/push?"+q.Encode(), nil)
			if err != nil {
				return err
			}
			defer answer.Close()
			var last string
			name := reference.FamiliarString(tagged)
			err = a.showTransfer(ctx, answer, "push", [2]string{"Pushing", "Pushed"}, name, quiet, func(m jsonstream.Message) {
				if m.Status != "" {
					last = m.Status
				}
			})
			if err != nil {
				return err
			}
			if quiet {
				last = tagged.String()
			}
			fmt.Fprintln(a.out, last)
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	refuse(cmd, refusal{name: "all-tags", short: "a", isBool: true}, refusal{name: "disable-content-trust", isBool: true}, refusal{name: "platform"})
	return cmd
}
