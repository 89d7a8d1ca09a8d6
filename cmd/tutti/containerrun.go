package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// containerRunFlags are docker's.
type containerRunFlags struct {
	createOptions
	detach, sigProxy bool
	detachKeys       string
}

func (a *app) containerRunCommand() *cobra.Command {
	var f containerRunFlags
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create and run a new container from an image",
		Args:  minArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.runContainer(cmd.Context(), &f, args) },
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.detach, "detach", "d", false, "Run container in background and print container ID")
	flags.StringVar(&f.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	flags.BoolVar(&f.sigProxy, "sig-proxy", true, "Proxy received signals to the process")
	return cmd
}

// runContainer makes a container and is its terminal until it ends.
func (a *app) runContainer(ctx context.Context, f *containerRunFlags, args []string) error {
	request, err := f.request(a, args)
	if err != nil {
		return &exitError{exitNotRun, err.Error()}
	}
	if err := a.checkStreams(f, request.Config); err != nil {
		return err
	}
	l := &link{a: a, object: "containers", tty: request.Tty, proxy: f.sigProxy && !request.Tty, stdin: request.AttachStdin}
	if request.Tty {
		if l.keys, err = a.detachKeys(f.detachKeys); err != nil {
			return err
		}
		size := a.size()
		request.HostConfig.ConsoleSize = [2]uint{uint(size.Height), uint(size.Width)}
	}
	var id string
	err = a.interruptible(ctx, func(ctx context.Context) (err error) {
		if l.c, err = a.connect(ctx); err != nil {
			return err
		}
		id, err = a.createContainer(ctx, l.c, request, &f.createOptions)
		return err
	})
	if err != nil {
		return notRun(exitNotRun, err)
	}
	if f.detach {
		return a.startDetached(ctx, l.c, id)
	}
	shown := *a
	if !request.AttachStdout {
		shown.out = io.Discard
	}
	if !request.AttachStderr {
		shown.err = io.Discard
	}
	l.a, l.display = &shown, a.display(ctx, "run", displayOptions{})
	code, err := l.run(ctx, "attach", api.AttachRequest{Container: id, Stdin: l.stdin, Start: true, Size: a.size()})
	if errors.Is(err, errDetached) { // docker says nothing here
		return nil
	}
	if err != nil {
		return notRun(code, err)
	}
	return exitOf(code, nil)
}

// checkStreams refuses what contradicts itself with docker's words. Nobody is attached to what is detached.
func (a *app) checkStreams(f *containerRunFlags, c *container.Config) error {
	if f.detach {
		if len(f.Attach) > 0 {
			return errors.New("conflicting options: cannot specify both --attach and --detach")
		}
		c.AttachStdin, c.AttachStdout, c.AttachStderr, c.StdinOnce = false, false, false, false
		return nil
	}
	if _, in := terminal(a.in); c.AttachStdin && c.Tty && !in {
		return errNoTerminal
	}
	return nil
}

// notRun makes an error end with docker's exit code of run.
func notRun(code int, err error) error {
	if own, ok := errors.AsType[*exitError](err); ok {
		return own
	}
	if code != exitNotExecutable && code != exitNotFound {
		code = exitNotRun
	}
	return &exitError{code, err.Error()}
}

func (a *app) startDetached(ctx context.Context, c *api.Client, id string) error {
	if err := c.Call(ctx, http.MethodPost, containerPath(id, "start", nil), nil, nil); err != nil {
		fmt.Fprintln(a.out, id) // it is there, unless it was to be removed
		return notRun(startCode(err), err)
	}
	fmt.Fprintln(a.out, id)
	return nil
}

// startCode is the exit code for a start that failed, which docker's clients read from the words of its engine.
func startCode(err error) int {
	switch text := err.Error(); {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return exitNotFound
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"):
		return exitNotExecutable
	}
	return exitNotRun
}
