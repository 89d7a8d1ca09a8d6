package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"tutti/project"
	"tutti/scheduler/api"
)

// containerStreams are docker's commands that connect our streams with those of a container.
func (a *app) containerStreams() []*cobra.Command {
	return []*cobra.Command{a.containerAttachCommand(), a.containerExecCommand(), a.containerStartCommand()}
}

func (a *app) containerAttachCommand() *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:         "attach [OPTIONS] CONTAINER",
		Short:       "Attach local standard input, output, and error streams to a running container",
		Args:        exactArgs(1),
		Annotations: heeds(readsOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, target, err := a.attachable(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.attach(cmd, c, target, &f)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// attachable finds a container to attach to, by its name or id.
func (a *app) attachable(ctx context.Context, name string) (*api.Client, api.Container, error) {
	c, err := a.connect(ctx)
	if err != nil {
		return nil, api.Container{}, err
	}
	j, err := inspectContainer(ctx, c, name)
	if err != nil {
		return nil, api.Container{}, err
	}
	return c, api.Container{ID: j.ID, Name: strings.TrimPrefix(j.Name, "/"), TTY: j.Config.Tty, StdinOpen: j.Config.OpenStdin}, nil
}

func (a *app) containerExecCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Execute a command in a running container",
		Args:  minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Container = args[0]
			if _, in := terminal(a.in); f.TTY && f.Stdin && !f.Detach && !in {
				return errNoTerminal
			}
			var err error
			if f.Env, err = project.ReadEnv(f.Env, f.envFiles, a.env); err != nil {
				return err
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			return a.execute(cmd.Context(), c, &f, args[1:])
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the container is the command's own
	flags.BoolVarP(&f.Detach, "detach", "d", false, "Detached mode: run command in the background")
	flags.StringVar(&f.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	flags.StringArrayVarP(&f.Env, "env", "e", nil, "Set environment variables")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "Read in a file of environment variables")
	flags.BoolVarP(&f.Stdin, "interactive", "i", false, "Keep STDIN open even if not attached")
	flags.BoolVar(&f.Privileged, "privileged", false, "Give extended privileges to the command")
	flags.BoolVarP(&f.TTY, "tty", "t", false, "Allocate a pseudo-TTY")
	flags.StringVarP(&f.User, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	flags.StringVarP(&f.WorkingDir, "workdir", "w", "", "Working directory inside the container")
	return cmd
}

func (a *app) containerStartCommand() *cobra.Command {
	f := attachFlags{proxy: true, start: true}
	var attach, interactive bool
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more stopped containers",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if !attach && !interactive {
				return a.interruptible(cmd.Context(), func(ctx context.Context) error {
					return a.eachContainer(ctx, names, postContainer("start", nil))
				})
			}
			if len(names) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			c, target, err := a.attachable(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			f.noStdin = !interactive
			return a.attach(cmd, c, target, &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	flags.BoolVarP(&interactive, "interactive", "i", false, "Attach container's STDIN")
	flags.StringVar(&f.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	refuse(cmd, refusal{name: "checkpoint"}, refusal{name: "checkpoint-dir"})
	return cmd
}
