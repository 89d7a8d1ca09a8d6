package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/createflags"
	"tutti/scheduler/api"
)

// createOptions are the flags of create, and of run, that are not about the container itself.
type createOptions struct {
	*createflags.Flags
	name, platform, pull string
	quiet, untrusted     bool
}

// add gives a command docker's flags of create and run.
func (o *createOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetInterspersed(false)             // what follows the image is the command's own
	flags.Bool("help", false, "Print usage") // -h is the host name
	o.Flags = createflags.Add(flags)
	flags.StringVar(&o.name, "name", "", "Assign a name to the container")
	flags.StringVar(&o.platform, "platform", "", "Set platform if server is multi-platform capable")
	flags.StringVar(&o.pull, "pull", "missing", `Pull image before running ("always", "missing", "never")`)
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the pull output")
	flags.BoolVar(&o.untrusted, "disable-content-trust", true, "Skip image verification")
	refuse(cmd, refusal{name: "use-api-socket", short: "", isBool: true}, refusal{name: "cpu-count"}, refusal{name: "cpu-percent"},
		refusal{name: "io-maxbandwidth"}, refusal{name: "io-maxiops"}, refusal{name: "kernel-memory"})
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitNotRun, err.Error()} })
}

// exitNotRun is what docker's run ends with when there is nothing that could have an exit code.
const exitNotRun = 125

// request reads the flags.
func (o *createOptions) request(a *app, args []string) (container.CreateRequest, error) {
	switch o.pull {
	case "", "always", "missing", "never":
	default:
		return container.CreateRequest{}, fmt.Errorf("invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"", o.pull)
	}
	if !o.untrusted {
		return container.CreateRequest{}, errors.New("--disable-content-trust=false is not supported: name an image by its digest (NAME@sha256:...) to be sure of it")
	}
	dir, err := os.Getwd()
	if err != nil {
		return container.CreateRequest{}, err
	}
	if o.platform == "" {
		o.platform, _ = a.env("DOCKER_DEFAULT_PLATFORM")
	}
	return o.Request(createflags.User{Dir: dir, Env: a.env}, args[0], args[1:])
}

func (a *app) containerCreateCommand() *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a new container",
		Args:  minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			request, err := o.request(a, args)
			if err != nil {
				return &exitError{exitNotRun, err.Error()}
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			id, err := a.createContainer(ctx, c, request, &o)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, id)
			return nil
		}),
	}
	o.add(cmd)
	return cmd
}

// createContainer makes a container, for which it may pull the image, and returns its id.
func (a *app) createContainer(ctx context.Context, c *api.Client, request container.CreateRequest, o *createOptions) (id string, err error) {
	file, err := newIDFile(o.CIDFile)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.close(id)) }()
	if o.pull == "always" {
		if err := a.pullFor(ctx, c, request.Image, o); err != nil {
			return "", err
		}
	}
	q := url.Values{}
	for name, value := range map[string]string{"name": o.name, "platform": o.platform} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var made container.CreateResponse
	post := func() error { return c.Call(ctx, http.MethodPost, "/containers/create?"+q.Encode(), request, &made) }
	err = post()
	if status, ok := errors.AsType[*api.StatusError](err); ok && status.Code == http.StatusNotFound && (o.pull == "missing" || o.pull == "") {
		if !o.quiet {
			fmt.Fprintf(a.err, "Unable to find image '%s' locally\n", familiar(request.Image))
		}
		if err := a.pullFor(ctx, c, request.Image, o); err != nil {
			return "", err
		}
		err = post()
	}
	for _, w := range made.Warnings {
		fmt.Fprintln(a.err, "WARNING:", w)
	}
	return made.ID, err
}

// familiar is the whole name of an image in its short form.
func familiar(image string) string {
	ref, err := reference.ParseDockerRef(image)
	if err != nil {
		return image
	}
	return reference.FamiliarString(ref)
}

// pullFor pulls the image of a container. The standard output is the container's.
func (a *app) pullFor(ctx context.Context, c *api.Client, image string, o *createOptions) error {
	ref, err := reference.ParseDockerRef(image)
	if err != nil {
		return fmt.Errorf("invalid reference %q: %w", image, err)
	}
	beside := *a
	beside.out = a.err
	if o.quiet {
		beside.out = io.Discard
	}
	return beside.pullImage(ctx, c, ref, transferFlags{quiet: o.quiet, platform: o.platform})
}

// idFile is the file of --cidfile, which is there from the beginning so that no other container gets it.
type idFile struct {
	file *os.File // nil: none was asked for
}

func newIDFile(path string) (*idFile, error) {
	if path == "" {
		return &idFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // as docker's: others read it
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to create the container ID file: %w", err)
	}
	return &idFile{f}, nil
}

// close writes the id, or removes the file when there is none.
func (f *idFile) close(id string) error {
	switch {
	case f.file == nil:
		return nil
	case id == "":
		return errors.Join(f.file.Close(), os.Remove(f.file.Name()))
	}
	_, err := f.file.WriteString(id)
	return errors.Join(err, f.file.Close())
}

func (a *app) containerUpdateCommand() *cobra.Command {
	var u *createflags.Update
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Update configuration of one or more containers",
		Args:  minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			request, err := u.Request()
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var warnings []string
			var errs []error
			for _, name := range names {
				var answer container.UpdateResponse
				err := c.Call(ctx, http.MethodPost, containerPath(name, "update", nil), request, &answer)
				if errs = append(errs, err); err == nil {
					fmt.Fprintln(a.out, name)
				}
				warnings = append(warnings, answer.Warnings...)
			}
			if len(warnings) > 0 {
				fmt.Fprintln(a.out, strings.Join(warnings, "\n"))
			}
			return errors.Join(errs...)
		}),
	}
	u = createflags.AddUpdate(cmd.Flags())
	refuse(cmd, refusal{name: "kernel-memory"})
	return cmd
}
