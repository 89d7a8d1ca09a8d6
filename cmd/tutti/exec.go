package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/cmd/tutti/detach"
	"tutti/project"
	"tutti/scheduler/api"
)

type execFlags struct {
	api.ExecRequest
	noTTY, tty bool
	index      int
	envFiles   []string
	detachKeys string
}

func (a *app) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] SERVICE COMMAND [ARGS...]",
		Short: "Execute a command in a running container",
		Args:  minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, name, err := a.connectProject(ctx)
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
			f.Container = target.ID
			return a.exec(cmd, c, &f, args[1:])
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the service is the command's own
	flags.BoolVarP(&f.Detach, "detach", "d", false, "Detached mode: Run command in the background")
	flags.StringArrayVarP(&f.Env, "env", "e", nil, "Set environment variables")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "Read in a file of environment variables")
	flags.StringVar(&f.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	flags.IntVar(&f.index, "index", 0, "Index of the container if service has multiple replicas")
	flags.BoolVar(&f.Privileged, "privileged", false, "Give extended privileges to the process")
	flags.StringVarP(&f.User, "user", "u", "", "Run the command as this user")
	flags.BoolVarP(&f.noTTY, "no-tty", "T", false, "Disable pseudo-TTY allocation. By default 'tutti exec' allocates a TTY on a terminal.")
	flags.StringVarP(&f.WorkingDir, "workdir", "w", "", "Path to workdir directory for this command")
	flags.BoolVarP(&f.Stdin, "interactive", "i", true, "Keep STDIN open even if not attached")
	flags.BoolVarP(&f.tty, "tty", "t", true, "Allocate a pseudo-TTY") // the default; docker compose hides it too
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

// exec runs a process in a container and passes its exit code on.
func (a *app) exec(cmd *cobra.Command, c *api.Client, f *execFlags, command []string) error {
	var err error
	if f.TTY, err = a.wantsTTY(cmd, f.tty, f.noTTY, f.Stdin && !f.Detach, f.Detach); err != nil {
		return err
	}
	if f.Env, err = project.ReadEnv(f.Env, f.envFiles, a.env); err != nil {
		return err
	}
	return a.execute(cmd.Context(), c, f, command)
}

// execute runs a process as f says.
func (a *app) execute(ctx context.Context, c *api.Client, f *execFlags, command []string) error {
	f.Args = command
	l := &link{a: a, c: c, object: "exec", stdin: f.Stdin && !f.Detach, tty: f.TTY, display: a.display(ctx, "exec", displayOptions{})}
	if f.TTY {
		var err error
		f.Size = a.size()
		if l.keys, err = a.detachKeys(f.detachKeys); err != nil {
			return err
		}
	}
	return exitOf(l.run(ctx, "exec", f.ExecRequest))
}

// wantsTTY says whether a process gets a terminal: by the flags, or by itself where both of our ends are terminals. A
// terminal for a process cannot be fed from something else.
func (a *app) wantsTTY(cmd *cobra.Command, tty, noTTY, stdin, detach bool) (bool, error) {
	_, in := terminal(a.in)
	_, out := terminal(a.out)
	flags := cmd.Flags()
	switch {
	case flags.Changed("tty") && flags.Changed("no-tty"):
		return false, errors.New("--tty and --no-tty can't be used together")
	case flags.Changed("no-tty"):
		tty = !noTTY && out
	case !flags.Changed("tty"):
		tty = in && out && !detach
	}
	if tty && stdin && !in {
		return false, errNoTerminal
	}
	return tty, nil
}

// size is that of our terminal; zero without one.
func (a *app) size() api.Size {
	fd, ok := terminal(a.out)
	if !ok {
		return api.Size{}
	}
	w, h := terminalSize(fd)
	return api.Size{Width: uint16(w), Height: uint16(h)} //nolint:gosec // the kernel's are 16 bits wide
}

// detachKeys reads --detach-keys, or else docker's config.json, or else docker's default.
func (a *app) detachKeys(flag string) ([]byte, error) {
	if flag == "" {
		b, err := os.ReadFile(filepath.Join(a.dockerConfig(), "config.json"))
		var config struct{ DetachKeys string }
		if err == nil && json.Unmarshal(b, &config) == nil {
			flag = config.DetachKeys
		}
	}
	if flag == "" {
		return detach.Default, nil
	}
	return detach.Parse(flag)
}

// exitOf makes a command's end of a process's: its exit code, and what the engine said.
func exitOf(code int, err error) error {
	if own, ok := errors.AsType[*exitError](err); ok {
		return own
	}
	switch {
	case errors.Is(err, errDetached):
		return nil
	case err != nil && (code == exitNotExecutable || code == exitNotFound):
		return &exitError{code, err.Error()}
	case err != nil:
		return err
	case code != 0:
		return &exitError{code: code}
	}
	return nil
}

// Exit codes of commands that could not be executed, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)
