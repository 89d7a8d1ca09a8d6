package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/progress"
	"tutti/project/bakefile"
	"tutti/scheduler/api"
)

// buildFlags are the flags of `build` that have to be read before they travel.
type buildFlags struct {
	api.BuildRequest
	args                 []string
	quiet, print         bool
	ssh, builder, memory string
}

func (a *app) buildCommand() *cobra.Command {
	var b buildFlags
	cmd := &cobra.Command{
		Use:         "build [OPTIONS] [SERVICE...]",
		Short:       "Build or rebuild services",
		Annotations: heeds(heedsDryRun),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, services []string) error {
			if err := a.readBuildFlags(cmd, &b); err != nil {
				return err
			}
			if b.print {
				return a.printBake(ctx, services, &b)
			}
			return a.buildServices(ctx, services, &b)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&b.quiet, "quiet", "q", false, "Suppress the build output")
	f.BoolVar(&b.Pull, "pull", false, "Always attempt to pull a newer version of the image")
	f.BoolVar(&b.Push, "push", false, "Push service images")
	f.StringArrayVar(&b.args, "build-arg", nil, "Set build-time variables for services")
	f.StringVar(&b.ssh, "ssh", "", "Set SSH authentications used when building service images. (use 'default' for using your default SSH Agent)")
	f.StringVar(&b.builder, "builder", "", `Set builder to use: there is one, "default"`)
	f.BoolVar(&b.NoCache, "no-cache", false, "Do not use cache when building the image")
	f.BoolVar(&b.WithDeps, "with-dependencies", false, "Also build dependencies (transitively)")
	f.StringVarP(&b.memory, "memory", "m", "", "Set memory limit for each RUN step of the build")
	f.StringVar(&b.Provenance, "provenance", "", "Add a provenance attestation")
	f.StringVar(&b.SBOM, "sbom", "", "Add a SBOM attestation")
	f.BoolVar(&b.print, "print", false, "Print equivalent bake file")
	f.BoolVar(&b.Check, "check", false, "Check build configuration")
	f.StringVar(&a.progress, "progress", a.progress, "Set type of ui output ("+progress.Modes()+")")
	for _, name := range []string{"parallel", "compress", "force-rm", "no-rm"} { // docker compose takes them and does nothing
		f.Bool(name, name != "no-rm", "without effect")
		_ = f.MarkHidden(name) // it is there
	}
	return cmd
}

// readBuildFlags checks the flags of `build` and reads those with a notation of their own.
func (a *app) readBuildFlags(cmd *cobra.Command, b *buildFlags) error {
	if err := a.buildProgress(); err != nil {
		return err
	}
	if err := checkBuilder(b.builder); err != nil {
		return err
	}
	if b.memory != "" {
		n, err := units.RAMInBytes(b.memory)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"-m, --memory\" flag: %w", b.memory, err)
		}
		b.Memory = n
	}
	if cmd.Flags().Changed("ssh") {
		if b.ssh == "" {
			b.ssh = "default"
		}
		key, err := a.buildUser().SSH(b.ssh)
		if err != nil {
			return err
		}
		b.SSH = []api.BuildSSH{key}
	}
	return nil
}

// checkBuilder refuses builders that are not there.
func checkBuilder(name string) error {
	if name != "" && name != "default" {
		return fmt.Errorf("no builder %q found: tutti has one builder, \"default\", which is built in", name)
	}
	return nil
}

// buildProgress heeds BUILDKIT_PROGRESS where nothing else says how progress is shown.
func (a *app) buildProgress() error {
	v, ok := a.env("BUILDKIT_PROGRESS")
	if !ok || v == "" || a.progress != "" {
		return nil
	}
	_, tty := terminal(a.err)
	mode, err := progress.Resolve(v, a.ansi, tty)
	if err != nil {
		return fmt.Errorf("BUILDKIT_PROGRESS: %w", err)
	}
	a.mode = mode
	return nil
}

// buildServices lets the engine build, or check what it would build.
func (a *app) buildServices(ctx context.Context, services []string, b *buildFlags) error {
	p, err := a.loadLoud(ctx, services)
	if err != nil {
		return err
	}
	if b.Project, err = p.Encode(); err != nil {
		return err
	}
	b.Services, b.Client, b.DryRun = services, a.clientContext(), a.dryRun
	b.Args = a.buildArgs(b.args, p.Environment)
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	if !b.Check || b.DryRun {
		return a.verb(ctx, c, "build", b.BuildRequest, displayOptions{quiet: b.quiet})
	}
	found := checks{out: a.out}
	if err := c.Stream(ctx, "build", b.BuildRequest, found.add); err != nil {
		return err
	}
	return found.end()
}

// printBake prints what docker compose would hand to `buildx bake`.
func (a *app) printBake(ctx context.Context, services []string, b *buildFlags) error {
	p, err := a.load(ctx, services)
	if err != nil {
		return err
	}
	if b.WithDeps && len(services) > 0 {
		services = p.Graph().With(services...)
	}
	if len(services) == 0 {
		services = slices.Sorted(maps.Keys(p.Services))
	}
	f := bakefile.New(p, services, bakefile.Flags{
		Args: a.buildArgs(b.args, p.Environment), SSH: b.ssh, NoCache: b.NoCache, Pull: b.Pull, Push: b.Push, Check: b.Check,
	})
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, string(text))
	return err
}

// buildArgs reads --build-arg: NAME=VALUE, or NAME for the value that the environment has.
func (a *app) buildArgs(flags []string, environment map[string]string) map[string]*string {
	if len(flags) == 0 {
		return nil
	}
	args := make(map[string]*string, len(flags))
	for _, f := range flags {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			value, ok = environment[name]
		}
		if args[name] = nil; ok {
			args[name] = &value
		}
	}
	return args
}
