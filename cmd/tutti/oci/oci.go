// Package oci is the command line of an OCI runtime, with the commands, flags, output
// and exit codes of runc, so that whatever drives runc can drive tutti: podman,
// containerd, the specification's validation suite. It needs no engine.
package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"tutti/runtime/oci"
)

// Name is what the program is called to be this command line alone: callers of OCI
// runtimes know of a program, not of a command with a sub-command.
const Name = "tutti-oci"

// exitFailure is runc's exit code for whatever goes wrong in the runtime itself,
// exitExec that of exec.
const (
	exitFailure = 1
	exitExec    = 255
)

// exitCode ends the program like the container's did.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// cli is one run of the command line.
type cli struct {
	version string
	root    string
	log     logger

	systemdCgroup bool
	rootless      string
	failure       int // the exit code of the command, when it fails
}

// Arguments returns the arguments for Main, when the program was called to be it: by
// its name, or as "tutti oci".
func Arguments(argv []string) (args []string, ok bool) {
	switch {
	case len(argv) > 0 && strings.HasPrefix(filepath.Base(argv[0]), Name):
		return argv[1:], true
	case len(argv) > 1 && argv[1] == "oci":
		return argv[2:], true
	}
	return nil, false
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, version string) int {
	c := &cli{version: version, failure: exitFailure}
	root := c.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	c.log.fatal(err)
	return c.failure
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:               Name + " [GLOBAL OPTIONS] COMMAND",
		Short:             "Run OCI bundles, as runc does",
		Long:              "An OCI runtime: bundles become containers. Commands, flags and exit codes are runc's.",
		Version:           c.version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: c.prepare,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("no such command: %s", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(Name + " version {{.Version}}\nspec: " + specs.Version + "\n")
	f := root.PersistentFlags()
	f.StringVar(&c.root, "root", oci.DefaultRoot, "root folder of the containers' state; it should be on a tmpfs")
	f.StringVar(&c.log.path, "log", "", "write the log to this file instead of standard error")
	f.StringVar(&c.log.format, "log-format", "text", "format of the log: text or json")
	f.BoolVar(&c.log.debug, "debug", false, "log what is done")
	f.BoolVar(&c.systemdCgroup, "systemd-cgroup", false, "not supported: cgroups are made in the cgroup file system")
	f.StringVar(&c.rootless, "rootless", "auto", "not supported but for auto and false: this runtime needs root")
	root.AddCommand(
		c.createCommand(), c.startCommand(), c.runCommand(), c.execCommand(), c.stateCommand(), c.listCommand(), c.psCommand(),
		c.killCommand(), c.deleteCommand(), c.pauseCommand(), c.resumeCommand(), c.updateCommand(), c.eventsCommand(),
		c.featuresCommand(), c.specCommand(), unsupported("checkpoint"), unsupported("restore"))
	return root
}

// prepare checks the global flags before any command runs.
func (c *cli) prepare(cmd *cobra.Command, args []string) error {
	if err := c.log.open(); err != nil {
		return err
	}
	c.log.debugf("%s %s", cmd.Name(), strings.Join(args, " "))
	if c.systemdCgroup {
		return errors.New("--systemd-cgroup is not supported: have the caller use cgroupfs " +
			"(podman --cgroup-manager=cgroupfs, containerd SystemdCgroup = false)")
	}
	switch c.rootless {
	case "auto", "false":
	case "true":
		return errors.New("--rootless=true is not supported: this runtime needs root")
	default:
		return fmt.Errorf("--rootless %q: auto, true or false is wanted", c.rootless)
	}
	return nil
}

// with runs f with the containers of the root folder.
func (c *cli) with(f func(*oci.Runtime) error) error {
	r, err := oci.Open(c.root, c.log.warn)
	if err != nil {
		return err
	}
	return errors.Join(f(r), r.Close())
}

func unsupported(name string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: "Not supported", Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("%s is not supported", name) },
	}
}

// exactly and atLeast are checks of the number of arguments with runc's words.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s: %q requires exactly %d argument(s)", Name, cmd.Name(), n)
		}
		return nil
	}
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%s: %q requires a minimum of %d argument(s)", Name, cmd.Name(), n)
		}
		return nil
	}
}

// onContainer is a command that takes one container and nothing else.
func (c *cli) onContainer(name, short string, do func(ctx context.Context, r *oci.Runtime, id string) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " CONTAINER", Short: short, Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(func(r *oci.Runtime) error { return do(cmd.Context(), r, args[0]) })
		},
	}
}

// ownStreams are this program's standard streams, which become the container's.
func ownStreams() [3]*os.File { return [3]*os.File{os.Stdin, os.Stdout, os.Stderr} }
