package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mattn/go-shellwords"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/project"
	"tutti/scheduler/api"
)

// runFlags are the flags of run that the client acts on, beside those that go to the engine.
type runFlags struct {
	api.RunRequest
	env, envFiles, labels []string
	entrypoint            string
	noTTY, tty            bool
	quiet, quietPull      bool
	quietBuild            bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:         "run [OPTIONS] SERVICE [COMMAND] [ARGS...]",
		Short:       "Run a one-off command on a service",
		Args:        minArgs(1),
		Annotations: heeds(heedsParallel),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.OneOff.Service, f.OneOff.Command = args[0], args[1:]
			return a.runOneOff(cmd, &f)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the service is the command's own
	flags.BoolVarP(&f.Detach, "detach", "d", false, "Run container in background and print container ID")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "Set environment variables")
	flags.StringArrayVar(&f.envFiles, "env-from-file", nil, "Set environment variables from file")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "Add or override a label")
	flags.BoolVar(&f.AutoRemove, "rm", false, "Automatically remove the container when it exits")
	flags.BoolVarP(&f.noTTY, "no-tty", "T", false, "Disable pseudo-TTY allocation (default: auto-detected)")
	flags.StringVar(&f.OneOff.Name, "name", "", "Assign a name to the container")
	flags.StringVarP(&f.OneOff.User, "user", "u", "", "Run as specified username or uid")
	flags.StringVarP(&f.OneOff.WorkingDir, "workdir", "w", "", "Working directory inside the container")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "Override the entrypoint of the image")
	flags.StringArrayVar(&f.OneOff.CapAdd, "cap-add", nil, "Add Linux capabilities")
	flags.StringArrayVar(&f.OneOff.CapDrop, "cap-drop", nil, "Drop Linux capabilities")
	flags.BoolVar(&f.NoDeps, "no-deps", false, "Don't start linked services")
	flags.StringArrayVarP(&f.OneOff.Volumes, "volume", "v", nil, "Bind mount a volume")
	flags.StringArrayVarP(&f.OneOff.Publish, "publish", "p", nil, "Publish a container's port(s) to the host")
	flags.BoolVar(&f.UseAliases, "use-aliases", false, "Use the service's network aliases in the network(s) the container connects to")
	flags.BoolVarP(&f.OneOff.ServicePorts, "service-ports", "P", false, "Run command with all service's ports enabled and mapped to the host")
	flags.StringVar(&f.Pull, "pull", "policy", `Pull image before running ("always"|"missing"|"never")`)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "Don't print anything to STDOUT")
	flags.BoolVar(&f.quietBuild, "quiet-build", false, "Suppress progress output from the build process")
	flags.BoolVar(&f.quietPull, "quiet-pull", false, "Pull without printing progress information")
	flags.BoolVar(&f.Build, "build", false, "Build image before starting container")
	flags.BoolVar(&f.RemoveOrphans, "remove-orphans", false, "Remove containers for services not defined in the Compose file")
	flags.BoolVarP(&f.OneOff.Interactive, "interactive", "i", true, "Keep STDIN open even if not attached")
	flags.BoolVarP(&f.tty, "tty", "t", true, "Allocate a pseudo-TTY") // the default; docker compose hides it too
	flags.Lookup("tty").Hidden = true
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name { // older names
		case "volumes":
			name = "volume"
		case "labels":
			name = "label"
		case "no-TTY":
			name = "no-tty"
		}
		return pflag.NormalizedName(name)
	})
	return cmd
}

// runOneOff lets the engine run the container, and is its terminal.
func (a *app) runOneOff(cmd *cobra.Command, f *runFlags) error {
	var c *api.Client
	err := a.interruptible(cmd.Context(), func(ctx context.Context) (err error) {
		c, err = a.prepareRun(ctx, cmd, f)
		return err
	})
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	l := &link{
		a: a, c: c, object: "containers", tty: f.OneOff.TTY, proxy: true, stdin: f.OneOff.Interactive && !f.Detach,
		display: a.display(ctx, "run", displayOptions{quiet: f.quiet, quietPull: f.quietPull, quietBuild: f.quietBuild}),
	}
	if f.OneOff.TTY {
		f.Size = a.size()
		if l.keys, err = a.detachKeys(""); err != nil {
			return err
		}
	}
	code, err := l.run(ctx, "run", f.RunRequest)
	if errors.Is(err, errDetached) { // docker says nothing here
		return nil
	}
	if f.Detach && err == nil {
		fmt.Fprintln(a.out, l.begun.ID)
		return nil
	}
	return exitOf(code, err)
}

// prepareRun reads flags and files and finds the engine.
func (a *app) prepareRun(ctx context.Context, cmd *cobra.Command, f *runFlags) (*api.Client, error) {
	if err := f.check(cmd); err != nil {
		return nil, err
	}
	p, err := a.load(ctx, []string{f.OneOff.Service}) // the engine passes the remarks on
	if err != nil {
		return nil, err
	}
	if f.OneOff.TTY, err = a.runTTY(cmd, f); err != nil {
		return nil, err
	}
	if f.OneOff.Env, err = project.ReadEnv(f.env, f.envFiles, p.Environment.Resolve); err != nil {
		return nil, err
	}
	if f.OneOff.Dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	if _, err := p.WithOneOff(project.OneOff(f.OneOff)); err != nil { // what is wrong with the flags is told before the engine is asked
		return nil, err
	}
	if f.Project, err = p.Encode(); err != nil {
		return nil, err
	}
	f.Client, f.Parallel = a.clientContext(), a.parallel
	return a.connect(ctx)
}

// check reads the flags that are more than a value, and refuses what contradicts itself with docker compose's words.
func (f *runFlags) check(cmd *cobra.Command) error {
	if len(f.OneOff.Publish) > 0 && f.OneOff.ServicePorts {
		return errors.New("--service-ports and --publish are incompatible")
	}
	switch f.Pull {
	case "policy":
		f.Pull = ""
	case "always", "missing", "never":
	default:
		return fmt.Errorf("invalid --pull option %q", f.Pull)
	}
	if cmd.Flags().Changed("entrypoint") {
		words, err := shellwords.Parse(f.entrypoint)
		if err != nil {
			return fmt.Errorf("--entrypoint: %w", err)
		}
		f.OneOff.Entrypoint = append([]string{}, words...) // not nil: an empty one drops the image's
	}
	for _, l := range f.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok {
			return errors.New("label must be set as KEY=VALUE")
		}
		if f.OneOff.Labels == nil {
			f.OneOff.Labels = map[string]string{}
		}
		f.OneOff.Labels[name] = value
	}
	return nil
}

// runTTY is docker compose's choice of run: a terminal where our output is one, unless input is piped in.
func (a *app) runTTY(cmd *cobra.Command, f *runFlags) (bool, error) {
	_, in := terminal(a.in)
	_, out := terminal(a.out)
	flags := cmd.Flags()
	tty := out
	switch {
	case flags.Changed("tty") && flags.Changed("no-tty"):
		return false, errors.New("--tty and --no-tty can't be used together")
	case flags.Changed("tty"):
		tty = f.tty
	case flags.Changed("no-tty"):
		tty = !f.noTTY
	case !flags.Changed("interactive") && !in:
		tty = false
	}
	if tty && f.OneOff.Interactive && !in && !f.Detach {
		return false, errNoTerminal
	}
	return tty, nil
}
