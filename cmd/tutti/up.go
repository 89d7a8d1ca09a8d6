package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/project"
	"tutti/scheduler/api"
)

// upFlags are the flags of up that the client acts on, beside those that go to the engine.
type upFlags struct {
	api.UpOptions
	detach, attachDeps, noColor, noPrefix, timestamps bool
	abortOnExit, abortOnFailure                       bool
	exitCodeFrom                                      string
	attach, noAttach, scale                           []string
	timeout, waitTimeout                              int
	quietPull, quietBuild                             bool
	watch                                             bool
}

func (a *app) upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:         "up [OPTIONS] [SERVICE...]",
		Short:       "Create and start containers",
		Annotations: heeds(heedsDryRun, heedsParallel),
		PreRunE:     func(cmd *cobra.Command, args []string) error { return a.checkUp(cmd, &f, args) },
		RunE:        a.runUp(&f),
	}
	a.planningFlags(cmd, &f)
	flags := cmd.Flags()
	flags.BoolVarP(&f.detach, "detach", "d", false, "Detached mode: Run containers in the background")
	flags.BoolVar(&f.noColor, "no-color", false, "Produce monochrome output")
	flags.BoolVar(&f.noPrefix, "no-log-prefix", false, "Don't print prefix in logs")
	flags.BoolVar(&f.abortOnExit, "abort-on-container-exit", false, "Stops all containers if any container was stopped. Incompatible with -d")
	flags.BoolVar(&f.abortOnFailure, "abort-on-container-failure", false, "Stops all containers if any container exited with failure. Incompatible with -d")
	flags.StringVar(&f.exitCodeFrom, "exit-code-from", "", "Return the exit code of the selected service container. Implies --abort-on-container-exit")
	flags.IntVarP(&f.timeout, "timeout", "t", 0, "Use this timeout in seconds for container shutdown when attached or when containers are already running")
	flags.BoolVar(&f.timestamps, "timestamps", false, "Show timestamps")
	flags.BoolVar(&f.quietPull, "quiet-pull", false, "Pull without printing progress information")
	flags.BoolVar(&f.quietBuild, "quiet-build", false, "Suppress the build output")
	flags.StringArrayVar(&f.attach, "attach", nil, "Restrict attaching to the specified services. Incompatible with --attach-dependencies.")
	flags.StringArrayVar(&f.noAttach, "no-attach", nil, "Do not attach (stream logs) to the specified services")
	flags.BoolVar(&f.attachDeps, "attach-dependencies", false, "Automatically attach to log output of dependent services")
	flags.BoolVar(&f.Wait, "wait", false, "Wait for services to be running|healthy. Implies detached mode.")
	flags.IntVar(&f.waitTimeout, "wait-timeout", 0, "Maximum duration in seconds to wait for the project to be running|healthy")
	flags.BoolP("yes", "y", false, `Assume "yes" as answer to all prompts and run non-interactively`) // there are no prompts
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "y" {
			name = "yes"
		}
		return pflag.NormalizedName(name)
	})
	flags.BoolVarP(&f.watch, "watch", "w", false, "Watch source code and rebuild/refresh containers when files are updated.")
	refuse(cmd, refusal{name: "menu", isBool: true})
	return cmd
}

// planningFlags are those that decide what is done, which up and plan have.
func (a *app) planningFlags(cmd *cobra.Command, f *upFlags) {
	flags := cmd.Flags()
	flags.BoolVar(&f.Build, "build", false, "Build images before starting containers")
	flags.BoolVar(&f.NoBuild, "no-build", false, "Don't build an image, even if it's policy")
	flags.StringVar(&f.Pull, "pull", "", `Pull image before running ("always"|"missing"|"never"|"build") (default: the services' policies)`)
	flags.BoolVar(&f.RemoveOrphans, "remove-orphans", a.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	flags.StringArrayVar(&f.scale, "scale", nil, "Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present.")
	flags.BoolVar(&f.ForceRecreate, "force-recreate", false, "Recreate containers even if their configuration and image haven't changed")
	flags.BoolVar(&f.NoRecreate, "no-recreate", false, "If containers already exist, don't recreate them. Incompatible with --force-recreate.")
	flags.BoolVar(&f.NoStart, "no-start", false, "Don't start the services after creating them")
	flags.BoolVar(&f.NoDeps, "no-deps", false, "Don't start linked services")
	flags.BoolVar(&f.AlwaysRecreateDeps, "always-recreate-deps", false, "Recreate dependent containers. Incompatible with --no-recreate.")
	flags.BoolVarP(&f.RenewAnonVolumes, "renew-anon-volumes", "V", false, "Recreate anonymous volumes instead of retrieving data from the previous containers")
}

var pullPolicies = []string{"always", "missing", "if_not_present", "never", "build", "policy"}

// checkUp refuses combinations of flags that contradict each other, with docker compose's words.
func (a *app) checkUp(cmd *cobra.Command, f *upFlags, services []string) error {
	if f.waitTimeout < 0 {
		return errors.New("--wait-timeout must be a non-negative integer")
	}
	if f.exitCodeFrom != "" && !f.abortOnFailure {
		f.abortOnExit = true
	}
	f.detach = f.detach || f.Wait
	attached := f.attachDeps || f.abortOnExit || f.abortOnFailure || len(f.attach) > 0 || f.watch
	for _, bad := range []struct {
		is  bool
		msg string
	}{
		{f.abortOnExit && f.abortOnFailure, "--abort-on-container-failure cannot be combined with --abort-on-container-exit"},
		{f.Wait && attached, "--wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch"},
		{f.detach && attached, "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch"},
		{f.NoBuild && f.watch, "--no-build and --watch are incompatible"},
		{f.Build && f.NoBuild, "--build and --no-build are incompatible"},
		{f.RenewAnonVolumes && f.NoRecreate, "--no-recreate and --renew-anon-volumes are incompatible"},
		{f.ForceRecreate && f.NoRecreate, "--force-recreate and --no-recreate are incompatible"},
		{f.AlwaysRecreateDeps && f.NoRecreate, "--always-recreate-deps and --no-recreate are incompatible"},
		{len(f.attach) > 0 && f.attachDeps, "cannot combine --attach and --attach-dependencies"},
		{f.RemoveOrphans && a.envBool("COMPOSE_IGNORE_ORPHANS"), "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans"},
		{f.Pull != "" && !slices.Contains(pullPolicies, f.Pull), fmt.Sprintf("invalid --pull option %q", f.Pull)},
	} {
		if bad.is {
			return errors.New(bad.msg)
		}
	}
	f.Services, f.DryRun, f.Parallel = services, a.dryRun, a.parallel
	f.Timeout = optionalTimeout(cmd, f.timeout)
	f.WaitTimeout = time.Duration(f.waitTimeout) * time.Second
	switch f.Pull {
	case "policy":
		f.Pull = ""
	case "if_not_present":
		f.Pull = "missing"
	}
	if f.Scale != nil { // of `scale`
		return nil
	}
	var err error
	f.Scale, err = parseScale(f.scale)
	return err
}

func parseScale(flags []string) (map[string]int, error) {
	var scale map[string]int
	for _, s := range flags {
		service, number, ok := strings.Cut(s, "=")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 {
			return nil, fmt.Errorf("invalid --scale option %q. Should be SERVICE=NUM", s)
		}
		if scale == nil {
			scale = map[string]int{}
		}
		scale[service] = n
	}
	return scale, nil
}

// runUp is up: detached it is one verb, in the foreground a session that follows the logs.
func (a *app) runUp(f *upFlags) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		var c *api.Client
		var p *project.Project
		var request api.UpRequest
		attached := !f.detach && !f.NoStart && !f.DryRun
		err := a.interruptible(cmd.Context(), func(ctx context.Context) (err error) {
			c, p, request, err = a.prepareUp(ctx, f)
			if err != nil || attached {
				return err
			}
			return a.verb(ctx, c, "up", request, f.display())
		})
		if err != nil || !attached {
			return err
		}
		return a.upAttached(cmd.Context(), f, c, p, request)
	}
}

func (f *upFlags) display() displayOptions {
	return displayOptions{quietPull: f.quietPull, quietBuild: f.quietBuild}
}

func (a *app) prepareUp(ctx context.Context, f *upFlags) (*api.Client, *project.Project, api.UpRequest, error) {
	var request api.UpRequest
	p, err := a.load(ctx, f.Services) // the engine passes the remarks on
	if err != nil {
		return nil, nil, request, err
	}
	if len(p.Services) == 0 {
		return nil, nil, request, errors.New("no service selected")
	}
	if err := f.checkNames(p); err != nil {
		return nil, nil, request, err
	}
	model, err := p.Encode()
	if err != nil {
		return nil, nil, request, err
	}
	request = api.UpRequest{Project: model, Options: f.UpOptions, Client: a.clientContext()}
	c, err := a.connect(ctx)
	return c, p, request, err
}

// checkNames finds flags that name services that are not there.
func (f *upFlags) checkNames(p *project.Project) error {
	names := slices.Concat(f.attach, f.noAttach)
	for s := range f.Scale {
		names = append(names, s)
	}
	if f.exitCodeFrom != "" {
		names = append(names, f.exitCodeFrom)
	}
	for _, n := range names {
		if _, ok := p.Services[n]; !ok {
			return &noServiceError{n}
		}
	}
	return nil
}

// attachedTo returns the services whose logs are shown, sorted: those of --attach, or those that are brought up and do
// not say `attach: false`, less those of --no-attach.
func (f *upFlags) attachedTo(p *project.Project) []string {
	services := f.attach
	if len(services) == 0 {
		chosen := f.Services
		switch {
		case len(chosen) == 0:
			chosen = p.ServiceNames()
		case f.attachDeps:
			chosen = p.Graph().With(chosen...)
		}
		for _, name := range chosen {
			if s := p.Services[name]; s.Attach == nil || *s.Attach {
				services = append(services, name)
			}
		}
	}
	services = slices.DeleteFunc(slices.Clone(services), func(s string) bool { return slices.Contains(f.noAttach, s) })
	slices.Sort(services)
	return slices.Compact(services)
}
