package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/progress"
	"tutti/project"
	"tutti/scheduler/api"
)

func (a *app) buildCommand() *cobra.Command {
	var request api.BuildRequest
	var args []string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] [SERVICE...]",
		Short: "Build or rebuild services",
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			return a.imageVerb(ctx, "build", services, quiet, func(p *project.Project, model json.RawMessage) any {
				request.Project, request.Services, request.Client = model, services, a.clientContext()
				request.Args = a.buildArgs(args, p.Environment)
				return request
			})
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Suppress the build output")
	f.BoolVar(&request.Pull, "pull", false, "Always attempt to pull a newer version of the image")
	f.StringArrayVar(&args, "build-arg", nil, "Set build-time variables for services")
	f.BoolVar(&request.NoCache, "no-cache", false, "Do not use cache when building the image")
	f.BoolVar(&request.WithDeps, "with-dependencies", false, "Also build dependencies (transitively)")
	f.StringVar(&a.progress, "progress", a.progress, "Set type of ui output ("+progress.Modes()+")")
	refuse(cmd, refusal{name: "push", isBool: true}, refusal{name: "ssh"}, refusal{name: "builder"}, refusal{name: "provenance"},
		refusal{name: "sbom"}, refusal{name: "memory", short: "m"}, refusal{name: "print", isBool: true}, refusal{name: "check", isBool: true})
	return cmd
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
