package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// transferFlags are those that `image pull` and `image push` share.
type transferFlags struct {
	quiet, allTags, untrusted bool
	platform                  string
}

func (f *transferFlags) add(cmd *cobra.Command, allTags, platform string) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "Suppress verbose output")
	flags.BoolVarP(&f.allTags, "all-tags", "a", false, allTags)
	flags.StringVar(&f.platform, "platform", "", platform)
	flags.BoolVar(&f.untrusted, "disable-content-trust", true, "Skip image verification")
}

// reference reads the argument; with --all-tags it is the name of a repository. It refuses what docker itself has given up:
// notary's signatures.
func (f *transferFlags) reference(text string) (reference.Named, error) {
	if !f.untrusted {
		return nil, errors.New("--disable-content-trust=false is not supported: name an image by its digest (NAME@sha256:...) to be sure of it")
	}
	ref, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, fmt.Errorf("invalid reference %q: %w", text, err)
	}
	if f.allTags && !reference.IsNameOnly(ref) {
		return nil, errors.New("tag can't be used with --all-tags/-a")
	}
	if f.allTags {
		return ref, nil
	}
	return reference.ParseDockerRef(text)
}

func (a *app) imagePullCommand() *cobra.Command {
	var f transferFlags
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Args:  exactArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			ref, err := f.reference(args[0])
			if err != nil {
				return err
			}
			platform := f.platform
			if platform == "" {
				platform, _ = a.env("DOCKER_DEFAULT_PLATFORM")
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			f.platform = platform
			return a.pullImage(ctx, c, ref, f)
		}),
	}
	f.add(cmd, "Download all tagged images in the repository", "Set platform if server is multi-platform capable")
	return cmd
}

// pullImage pulls an image, or all of a repository, and shows how that goes.
func (a *app) pullImage(ctx context.Context, c *api.Client, ref reference.Named, f transferFlags) error {
	q := url.Values{"fromImage": {reference.FamiliarString(ref)}, "tuttiDockerConfig": {a.dockerConfig()}}
	if f.platform != "" {
		q.Set("platform", f.platform)
	}
	answer, err := c.Open(ctx, http.MethodPost, "/images/create?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	return a.showTransfer(ctx, answer, transferView{operation: "pull", begun: "Pulling", ended: "Pulled", name: ref, quiet: f.quiet})
}

func (a *app) imagePushCommand() *cobra.Command {
	var f transferFlags
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] NAME[:TAG]",
		Short: "Upload an image to a registry",
		Args:  exactArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			ref, err := f.reference(args[0])
			if err != nil {
				return err
			}
			if _, digested := ref.(reference.Canonical); digested {
				return errors.New("cannot push a digest reference")
			}
			q := url.Values{"tuttiDockerConfig": {a.dockerConfig()}}
			if tagged, ok := ref.(reference.Tagged); ok {
				q.Set("tag", tagged.Tag())
			}
			if f.platform != "" {
				p, err := platforms.Parse(f.platform)
				if err != nil {
					return fmt.Errorf("invalid --platform: %w", err)
				}
				text, err := json.Marshal(p)
				if err != nil {
					return err
				}
				q.Set("platform", string(text))
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			answer, err := c.Open(ctx, http.MethodPost, "/images/"+url.PathEscape(reference.FamiliarName(ref))+"/push?"+q.Encode(), nil)
			if err != nil {
				return err
			}
			defer answer.Close()
			return a.showTransfer(ctx, answer, transferView{operation: "push", begun: "Pushing", ended: "Pushed", name: ref, quiet: f.quiet})
		}),
	}
	f.add(cmd, "Push all tags of an image to the repository", "Push a platform-specific manifest as a single-platform image to the registry: 'os[/arch[/variant]]'")
	return cmd
}

// transferView is what is to be shown of a pull or push.
type transferView struct {
	operation    string
	begun, ended string // the words for an image that is under way, and for one that is there
	name         reference.Named
	quiet        bool // the name alone
}

// showTransfer shows docker's messages of a pull or push: progress, one row a layer, and at the end what was said of the
// images, and the name, on the standard output.
func (a *app) showTransfer(ctx context.Context, r io.Reader, v transferView) error {
	d := a.display(ctx, v.operation, displayOptions{quiet: v.quiet})
	row := api.Event{Kind: api.KindResource, Resource: "Image", Name: reference.FamiliarString(v.name), Status: v.begun, Phase: api.PhaseWorking}
	end := func(status string, phase api.Phase) {
		e := row
		e.Status, e.Phase = status, phase
		d.Event(e)
	}
	var said []string
	working := false
	err := messages(r, func(m jsonstream.Message) {
		switch {
		case strings.HasPrefix(m.Status, "Pulling from "): // the next image of a repository
			if working && reference.IsNameOnly(v.name) {
				end(v.ended, api.PhaseDone)
			}
			if reference.IsNameOnly(v.name) {
				row.Name = reference.FamiliarName(v.name) + ":" + m.ID
			}
			working = true
		case m.ID != "":
			e := row
			e.Layer, e.Text = m.ID, m.Status
			if m.Progress != nil {
				e.Current, e.Total = m.Progress.Current, m.Progress.Total
			}
			d.Event(e)
		case m.Status != "":
			said = append(said, m.Status)
		}
	})
	if err != nil {
		end("Error", api.PhaseError)
		d.Close()
		return err
	}
	end(v.ended, api.PhaseDone)
	d.Close()
	if !v.quiet {
		for _, line := range said {
			fmt.Fprintln(a.out, line)
		}
	}
	if v.quiet || v.operation == "pull" {
		fmt.Fprintln(a.out, v.name.String())
	}
	return nil
}
