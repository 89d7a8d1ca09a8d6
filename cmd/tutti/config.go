package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/project"
)

type configFlags struct {
	project.Options
	format, output, hash                                                         string
	quiet, services, volumes, networks, profiles, images, environment, variables bool
}

func (a *app) configCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:         "config [OPTIONS] [SERVICE...]",
		Short:       "Parse, resolve and render compose file in canonical format",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			content, err := a.config(ctx, &f, services)
			switch {
			case err != nil || f.quiet:
				return err
			case f.output != "" && len(content) > 0:
				return os.WriteFile(f.output, content, 0o666)
			}
			_, err = a.out.Write(content)
			return err
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "yaml", "Format the output. Values: [yaml | json]")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "Only validate the configuration, don't print anything")
	flags.BoolVar(&f.NoInterpolate, "no-interpolate", false, "Don't interpolate environment variables")
	flags.BoolVar(&f.NoNormalize, "no-normalize", false, "Don't normalize compose model")
	flags.BoolVar(&f.NoPathResolution, "no-path-resolution", false, "Don't resolve file paths")
	flags.BoolVar(&f.NoConsistency, "no-consistency", false, "Don't check model consistency - warning: may produce invalid Compose output")
	flags.BoolVar(&f.NoEnvResolution, "no-env-resolution", false, "Don't resolve service env files")
	flags.BoolVar(&f.services, "services", false, "Print the service names, one per line.")
	flags.BoolVar(&f.volumes, "volumes", false, "Print the volume names, one per line.")
	flags.BoolVar(&f.networks, "networks", false, "Print the network names, one per line.")
	flags.BoolVar(&f.profiles, "profiles", false, "Print the profile names, one per line.")
	flags.BoolVar(&f.images, "images", false, "Print the image names, one per line.")
	flags.StringVar(&f.hash, "hash", "", "Print the service config hash, one per line.")
	flags.BoolVar(&f.environment, "environment", false, "Print environment used for interpolation.")
	flags.BoolVar(&f.variables, "variables", false, "Print model variables and default values.")
	flags.StringVarP(&f.output, "output", "o", "", "Save to file (default to stdout)")
	refuse(cmd, refusal{name: "resolve-image-digests", isBool: true}, refusal{name: "lock-image-digests", isBool: true},
		refusal{name: "models", isBool: true})
	return cmd
}

// config returns what the command prints.
func (a *app) config(ctx context.Context, f *configFlags, services []string) ([]byte, error) {
	if f.format != "yaml" && f.format != "json" && f.format != "" {
		return nil, fmt.Errorf("unsupported format %q", f.format)
	}
	o := a.projectOptions()
	o.NoInterpolate, o.NoNormalize, o.NoPathResolution = f.NoInterpolate, f.NoNormalize, f.NoPathResolution
	o.NoConsistency, o.NoEnvResolution = f.NoConsistency, f.NoEnvResolution
	if f.variables {
		return configVariables(ctx, o, f.format)
	}
	if f.NoInterpolate {
		model, err := project.Model(ctx, o)
		if err != nil {
			return nil, err
		}
		if f.services {
			all, _ := model["services"].(map[string]any)
			return lines(sortedKeys(all)), nil
		}
		return project.RenderModel(model, f.format)
	}
	o.Services = services
	p, err := project.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings() {
		a.warn(w)
	}
	if list, ok, err := f.list(p); ok || err != nil {
		return lines(list), err
	}
	return p.Render(f.format)
}

// configVariables lists the variables of the files.
func configVariables(ctx context.Context, o project.Options, format string) ([]byte, error) {
	all, err := project.Variables(ctx, o)
	if err != nil {
		return nil, err
	}
	if format == "yaml" {
		format = "table" // docker compose's default for this list
	}
	var out bytes.Buffer
	err = listing.Pretty(&out, format, []string{"NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"}, all, func(v project.Variable) []string {
		return []string{v.Name, strconv.FormatBool(v.Required), v.Default, v.Present}
	}, "")
	return out.Bytes(), err
}

// list answers the flags that ask for names only.
func (f *configFlags) list(p *project.Project) (names []string, ok bool, err error) {
	switch {
	case f.services:
		names = p.Graph().Services() // docker compose too begins with what others depend on
	case f.volumes:
		names = sortedKeys(p.Volumes)
	case f.networks:
		names = sortedKeys(p.Networks)
	case f.hash != "":
		return f.hashes(p)
	case f.profiles:
		names = p.ProfileNames()
	case f.images:
		names = p.Images()
	case f.environment:
		names = p.EnvironmentList()
	default:
		return nil, false, nil
	}
	return names, true, nil
}

func (f *configFlags) hashes(p *project.Project) (list []string, ok bool, err error) {
	services := sortedKeys(p.Services)
	if f.hash != "*" {
		services = strings.Split(f.hash, ",")
	}
	for _, s := range services {
		if _, ok := p.Services[s]; !ok {
			return nil, true, &noServiceError{s}
		}
		list = append(list, s+" "+p.Hash(s))
	}
	return list, true, nil
}

func lines(list []string) []byte {
	var b bytes.Buffer
	for _, l := range list {
		b.WriteString(l + "\n")
	}
	return b.Bytes()
}
