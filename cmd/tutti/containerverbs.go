package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// containerVerbs are what docker does with any number of containers, each by its name or id, or the beginning of that.
func (a *app) containerVerbs() []*cobra.Command {
	return []*cobra.Command{
		a.containerPauseCommand("pause", "Pause all processes within one or more containers"),
		a.containerPauseCommand("unpause", "Unpause all processes within one or more containers"),
		a.containerStopCommand("stop", "Stop one or more running containers"),
		a.containerStopCommand("restart", "Restart one or more containers"),
		a.containerKillCommand(), a.containerRemoveCommand(), a.containerWaitCommand(), a.containerRenameCommand(),
	}
}

// containerPath is where the engine hears of a verb on a container.
func containerPath(name, verb string, q url.Values) string {
	path := "/containers/" + url.PathEscape(name)
	if verb != "" {
		path += "/" + verb
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

// postContainer asks the engine for a verb on a container.
func postContainer(verb string, q url.Values) func(context.Context, *api.Client, string) error {
	return func(ctx context.Context, c *api.Client, name string) error {
		return c.Call(ctx, http.MethodPost, containerPath(name, verb, q), nil, nil)
	}
}

// atOnce bounds how many containers one command is about at the same time, as docker's client does.
const atOnce = 50

// eachContainer does the same with many containers at a time, and prints the name of each with which it went well, in the
// order in which they were given.
func (a *app) eachContainer(ctx context.Context, names []string, do func(context.Context, *api.Client, string) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	ends := make([]chan error, len(names))
	turns := make(chan struct{}, atOnce)
	for i, name := range names {
		ends[i] = make(chan error, 1)
		go func() { // ends with ctx, which ends the request
			turns <- struct{}{}
			defer func() { <-turns }()
			ends[i] <- do(ctx, c, name)
		}()
	}
	var errs []error
	for i, name := range names {
		if err := <-ends[i]; err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(a.out, name)
	}
	return errors.Join(errs...)
}

func (a *app) containerPauseCommand(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " CONTAINER [CONTAINER...]",
		Short: short,
		Args:  minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			return a.eachContainer(ctx, names, postContainer(verb, nil))
		}),
	}
}

// containerStopCommand is stop or restart, which differ in nothing but what comes after.
func (a *app) containerStopCommand(verb, short string) *cobra.Command {
	var signal string
	var timeout int
	cmd := &cobra.Command{
		Use:   verb + " [OPTIONS] CONTAINER [CONTAINER...]",
		Short: short,
		Args:  minArgs(1),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, names []string) error {
			q := url.Values{}
			if signal != "" {
				q.Set("signal", signal)
			}
			if cmd.Flags().Changed("timeout") {
				q.Set("t", strconv.Itoa(timeout))
			}
			return a.eachContainer(ctx, names, postContainer(verb, q))
		}),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait before killing the container")
	return cmd
}

func (a *app) containerKillCommand() *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Kill one or more running containers",
		Args:  minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			return a.eachContainer(ctx, names, postContainer("kill", url.Values{"signal": {signal}}))
		}),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	return cmd
}

func (a *app) containerRemoveCommand() *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short:   "Remove one or more containers",
		Aliases: []string{"remove"},
		Args:    minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			q := url.Values{"force": {strconv.FormatBool(force)}, "v": {strconv.FormatBool(volumes)}}
			var missing []error
			err := a.eachContainer(ctx, names, func(ctx context.Context, c *api.Client, name string) error {
				if name = strings.Trim(name, "/"); name == "" {
					return errors.New("container name cannot be empty")
				}
				return c.Call(ctx, http.MethodDelete, containerPath(name, "", q), nil, nil)
			})
			if force { // what is not there is as wanted, but said
				missing, err = splitMissing(err)
			}
			for _, m := range missing {
				fmt.Fprintln(a.err, m)
			}
			return err
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	refuse(cmd, refusal{name: "link", short: "l", isBool: true})
	return cmd
}

// splitMissing takes the errors about what does not exist out of joined ones.
func splitMissing(err error) (missing []error, rest error) {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // what eachContainer has joined itself
	if !ok {
		return nil, err
	}
	var others []error
	for _, e := range joined.Unwrap() {
		if status, ok := errors.AsType[*api.StatusError](e); ok && status.Code == http.StatusNotFound {
			missing = append(missing, e)
			continue
		}
		others = append(others, e)
	}
	return missing, errors.Join(others...)
}

func (a *app) containerWaitCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "wait CONTAINER [CONTAINER...]",
		Short:       "Block until one or more containers stop, then print their exit codes",
		Args:        minArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range names {
				code, err := waitContainer(ctx, c, url.PathEscape(name))
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(a.out, code)
			}
			return errors.Join(errs...)
		}),
	}
}

func (a *app) containerRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rename CONTAINER NEW_NAME",
		Short: "Rename a container",
		Args:  exactArgs(2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			from, to := strings.TrimSpace(args[0]), strings.TrimSpace(args[1])
			if from == "" || to == "" {
				return errors.New("neither old nor new names may be empty")
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			if err := postContainer("rename", url.Values{"name": {to}})(ctx, c, from); err != nil {
				return fmt.Errorf("failed to rename container named %s: %w", from, err)
			}
			return nil
		}),
	}
}
