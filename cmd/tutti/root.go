package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/progress"
)

// The groups of `tutti --help`.
const (
	groupProject = "project"
	groupObject  = "object"
	groupNotYet  = "notyet"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:                   "tutti [OPTIONS] COMMAND",
		Short:                 "Run compose files",
		Long:                  "Define and run multi-container applications: a compose file becomes running, connected, supervised containers.",
		TraverseChildren:      true, // global flags stand before the command: `-f` is also a flag of `logs`
		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
		PersistentPreRunE:     a.prepare,
		CompletionOptions:     cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("unknown command: %q\n\nRun 'tutti --help' for the commands", "tutti "+args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	a.globalFlags(root)
	root.AddGroup(
		&cobra.Group{ID: groupProject, Title: "Commands:"},
		&cobra.Group{ID: groupObject, Title: "Object commands:"},
		&cobra.Group{ID: groupNotYet, Title: "Not yet:"},
	)
	add(root, groupProject,
		a.upCommand(), a.downCommand(), a.psCommand(), a.logsCommand(), a.execCommand(), a.runCommand(), a.attachCommand(),
		a.buildCommand(), a.pullCommand(), a.pushCommand(),
		a.configCommand(), a.imagesCommand(), a.listCommand(), a.startCommand(), a.stopCommand(), a.restartCommand(),
		a.killCommand(), a.versionCommand(), a.pauseCommand(), a.unpauseCommand(), a.createCommand(), a.scaleCommand(),
		a.removeStoppedCommand(), a.waitCommand(), a.portCommand(), a.volumesCommand(), a.topCommand(), a.statsCommand(),
		a.eventsCommand(), a.whyCommand(), a.planCommand(), a.copyCommand(), a.exportCommand(), a.commitCommand(), a.watchCommand())
	add(root, groupObject, a.imageCommand(), a.containerCommand(), a.networkCommand(), a.volumeCommand(), a.systemCommand(), a.builderCommand(), a.loginCommand(),
		a.logoutCommand(), ociCommand(), a.imageLoadCommand(), a.imageSaveCommand(), a.imageImportCommand())
	add(root, groupNotYet, notYetCommands("tutti", commandsNotYet)...)
	root.AddCommand(a.engineCommand())
	root.SetHelpCommandGroupID(groupProject)
	return root
}

func add(parent *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		c.DisableFlagsInUseLine = true
		parent.AddCommand(c)
	}
}

func (a *app) globalFlags(root *cobra.Command) {
	f := root.Flags()
	f.SetInterspersed(false)
	f.StringArrayVarP(&a.files, "file", "f", nil, "Compose configuration files")
	f.StringVarP(&a.name, "project-name", "p", "", "Project name")
	f.StringVar(&a.projectDir, "project-directory", "", "Specify an alternate working directory\n(default: the path of the, first specified, Compose file)")
	f.StringArrayVar(&a.envFiles, "env-file", nil, "Specify an alternate environment file")
	f.StringArrayVar(&a.profiles, "profile", nil, "Specify a profile to enable")
	f.StringVar(&a.progress, "progress", "", "Set type of progress output ("+progress.Modes()+")")
	f.StringVar(&a.ansi, "ansi", "auto", `Control when to print ANSI control characters ("never"|"always"|"auto")`)
	f.IntVar(&a.parallel, "parallel", -1, "Control max parallelism, -1 for unlimited")
	p := root.PersistentFlags()
	p.BoolVar(&a.dryRun, "dry-run", false, "Show what would be done, and do nothing")
	p.StringVar(&a.root, "root", "", "Keep all state in this folder, with an engine of its own (default /var/lib/tutti, or TUTTI_ROOT)")
	refuse(root, refusal{name: "compatibility", isBool: true}, refusal{name: "all-resources", isBool: true},
		refusal{name: "verbose", isBool: true})
}

// prepare checks what holds for all commands, before one runs.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if err := refusedFlags(cmd); err != nil {
		return err
	}
	root := cmd.Root().Flags()
	if v, ok := a.env("COMPOSE_ANSI"); ok && !root.Changed("ansi") {
		a.ansi = v
	}
	switch a.ansi {
	case "auto", "never", "always":
	default:
		return fmt.Errorf("unsupported --ansi value %q", a.ansi)
	}
	if v, ok := a.env("COMPOSE_PROGRESS"); ok && a.progress == "" {
		a.progress = v
	}
	_, tty := terminal(a.err)
	mode, err := progress.Resolve(a.progress, a.ansi, tty)
	if err != nil {
		return err
	}
	a.mode = mode
	if v, ok := a.env("COMPOSE_PARALLEL_LIMIT"); ok && !root.Changed("parallel") {
		if a.parallel, err = strconv.Atoi(v); err != nil {
			return fmt.Errorf("COMPOSE_PARALLEL_LIMIT must be an integer (found: %q)", v)
		}
	}
	if v, ok := a.env("TUTTI_ROOT"); ok && a.root == "" {
		a.root = v
	}
	return a.checkGlobals(cmd)
}

// Annotations of commands: which global flags they heed.
const (
	heedsDryRun   = "dry-run"
	heedsParallel = "parallel"
	readsOnly     = "read-only" // nothing to try without doing, nothing done in parallel
)

func heeds(flags ...string) map[string]string {
	m := map[string]string{}
	for _, f := range flags {
		m[f] = ""
	}
	return m
}

// checkGlobals refuses a global flag that the command could only ignore.
func (a *app) checkGlobals(cmd *cobra.Command) error {
	has := func(note string) bool { _, ok := cmd.Annotations[note]; return ok }
	if has(readsOnly) || cmd == cmd.Root() {
		return nil
	}
	name := strings.TrimPrefix(cmd.CommandPath(), "tutti ")
	if a.dryRun && !has(heedsDryRun) {
		return fmt.Errorf("--dry-run is not supported for %s yet", name)
	}
	if cmd.Root().Flags().Changed("parallel") && !has(heedsParallel) {
		return fmt.Errorf("--parallel is not supported for %s yet", name)
	}
	return nil
}

// flagError is docker's answer to a flag that it cannot read.
func flagError(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w\n\nUsage:  %s\n\nRun '%s --help' for more information", err, cmd.UseLine(), cmd.CommandPath())
}

// exactArgs and minArgs are cobra's checks with docker's words.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return argsError(cmd, fmt.Sprintf("requires %d %s", n, plural(n, "argument")))
	}
}

func minArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return argsError(cmd, fmt.Sprintf("requires at least %d %s", n, plural(n, "argument")))
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return argsError(cmd, fmt.Sprintf("unknown command: %s %s", cmd.CommandPath(), args[0]))
	}
	return argsError(cmd, "accepts no arguments")
}

func argsError(cmd *cobra.Command, what string) error {
	if !strings.HasPrefix(what, "unknown") {
		what = fmt.Sprintf("'%s' %s", cmd.CommandPath(), what)
	}
	return fmt.Errorf("%s\n\nUsage:  %s\n\nRun '%s --help' for more information", what, cmd.UseLine(), cmd.CommandPath())
}

func plural(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}
