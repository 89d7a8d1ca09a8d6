package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/scheduler/api"
)

type execFlags struct {
	container.ExecCreateRequest
	detach, noTTY, interactive bool
	index                      int
}

func (a *app) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] SERVICE COMMAND [ARGS...]",
		Short: "Execute a command in a running container",
		Args:  minArgs(2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			name, err := a.projectName()
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			all, err := c.Containers(ctx, name)
			if err != nil {
				return err
			}
			target, err := execTarget(all, args[0], f.index)
			if err != nil {
				return err
			}
			a.completeExec(&f, args[1:])
			return a.exec(ctx, c, target.ID, &f)
		}),
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the service is the command's own
	flags.BoolVarP(&f.detach, "detach", "d", false, "Detached mode: Run command in the background")
	flags.StringArrayVarP(&f.Env, "env", "e", nil, "Set environment variables")
	flags.IntVar(&f.index, "index", 0, "Index of the container if service has multiple replicas")
	flags.BoolVar(&f.Privileged, "privileged", false, "Give extended privileges to the process")
	flags.StringVarP(&f.User, "user", "u", "", "Run the command as this user")
	flags.BoolVarP(&f.noTTY, "no-tty", "T", false, "Disable pseudo-TTY allocation. By default 'tutti exec' allocates a TTY on a terminal.")
	flags.StringVarP(&f.WorkingDir, "workdir", "w", "", "Path to workdir directory for this command")
	flags.BoolVarP(&f.interactive, "interactive", "i", true, "Keep STDIN open even if not attached")
	flags.BoolP("tty", "t", true, "Allocate a pseudo-TTY") // the default; docker compose hides it too
	for _, hidden := range []string{"interactive", "tty"} {
		flags.Lookup(hidden).Hidden = true
	}
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "no-TTY" { // its older name
			name = "no-tty"
		}
		return pflag.NormalizedName(name)
	})
	return cmd
}

// execTarget is the running container of a service with the number asked for, or with the lowest.
func execTarget(all []api.Container, service string, index int) (api.Container, error) {
	var running []api.Container
	for _, c := range all {
		if c.Service == service && !c.OneOff && slices.Contains(liveStates, c.State) && (index == 0 || c.Number == index) {
			running = append(running, c)
		}
	}
	if len(running) > 0 {
		return slices.MinFunc(running, func(a, b api.Container) int { return cmp.Compare(a.Number, b.Number) }), nil
	}
	if index > 0 {
		return api.Container{}, fmt.Errorf("service %q is not running container #%d", service, index)
	}
	return api.Container{}, fmt.Errorf("service %q is not running", service)
}

// completeExec fills in what does not stand in the flags: a TTY where both ends are terminals, and the values of variables
// that are named alone.
func (a *app) completeExec(f *execFlags, command []string) {
	_, inTTY := terminal(a.in)
	_, outTTY := terminal(a.out)
	f.Cmd = command
	f.Tty = inTTY && outTTY && !f.noTTY && !f.detach
	f.AttachStdout, f.AttachStderr = !f.detach, !f.detach
	f.AttachStdin = f.interactive && !f.detach
	env := f.Env[:0]
	for _, e := range f.Env {
		if strings.Contains(e, "=") {
			env = append(env, e)
		} else if v, ok := a.env(e); ok {
			env = append(env, e+"="+v)
		}
	}
	f.Env = env
}
