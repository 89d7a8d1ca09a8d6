package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"tutti/project"
	"tutti/scheduler/api"
)

// noServiceError says that a service named on the command line is in no compose file.
type noServiceError struct{ name string }

func (e *noServiceError) Error() string { return "no such service: " + e.name }

func (a *app) projectOptions() project.Options {
	return project.Options{
		Files: a.files, EnvFiles: a.envFiles, Profiles: a.profiles, ProjectDir: a.projectDir, Name: a.name,
		Environ: a.environ, Stdin: a.in,
	}
}

// load reads the compose files. The profiles of services that are named are enabled, as docker compose does it.
func (a *app) load(ctx context.Context, services []string) (*project.Project, error) {
	o := a.projectOptions()
	p, err := project.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	var more []string
	for _, name := range services {
		if _, ok := p.Services[name]; ok {
			continue
		}
		disabled, ok := p.DisabledServices[name]
		if !ok {
			return nil, &noServiceError{name}
		}
		more = append(more, disabled.Profiles...)
	}
	if len(more) > 0 {
		o.Profiles = slices.Concat(p.Profiles, more)
		if p, err = project.Load(ctx, o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// loadLoud is load for the commands that act on the files: it passes on the remarks about them.
func (a *app) loadLoud(ctx context.Context, services []string) (*project.Project, error) {
	p, err := a.load(ctx, services)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings() {
		a.warn(w)
	}
	return p, nil
}

// projectOrName finds out which project is meant: by the compose files, or by a name alone, when there are no files at
// hand or they have become wrong: what runs must still be seen and taken away. The project is nil then.
func (a *app) projectOrName(ctx context.Context, services []string) (*project.Project, string, error) {
	if a.name != "" && len(a.files) == 0 {
		return nil, a.name, nil
	}
	p, err := a.load(ctx, services)
	if err == nil {
		return p, p.Name, nil
	}
	var unknown *noServiceError
	if errors.As(err, &unknown) || ctx.Err() != nil {
		return nil, "", err
	}
	name, nameErr := a.projectName()
	if nameErr != nil {
		return nil, "", err
	}
	if explicit, _ := a.env("COMPOSE_PROJECT_NAME"); explicit == "" {
		a.warn(err.Error())
	}
	return nil, name, nil
}

// projectName is projectOrName where only the name matters: it does not resolve the files.
func (a *app) projectName() (string, error) {
	if a.name != "" {
		return a.name, nil
	}
	if name, _ := a.env("COMPOSE_PROJECT_NAME"); name != "" {
		return name, nil
	}
	return project.Name(a.projectOptions())
}

// clientContext collects what the engine needs to act in the user's name.
func (a *app) clientContext() api.ClientContext {
	c := api.ClientContext{DockerConfig: a.dockerConfig(), Dir: workingDir()}
	c.SSHAuthSock, _ = a.env("SSH_AUTH_SOCK")
	c.DefaultPlatform, _ = a.env("DOCKER_DEFAULT_PLATFORM")
	return c
}

// dockerConfig is the folder of docker's config.json, with the user's credentials for registries; "" when there is no home.
func (a *app) dockerConfig() string {
	dir, _ := a.env("DOCKER_CONFIG")
	if home, _ := a.env("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".docker")
	}
	if abs, err := filepath.Abs(dir); err == nil && dir != "" {
		return abs
	}
	return dir
}
