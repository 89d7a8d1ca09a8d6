package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"tutti/scheduler/api"
	"tutti/scheduler/layout"
)

// connect returns a client of the engine, which it starts when it is not running.
func (a *app) connect(ctx context.Context) (*api.Client, error) {
	p, err := layout.New(a.root)
	if err != nil {
		return nil, err
	}
	c := api.NewClient(p.Socket(), func(ctx context.Context) error {
		if os.Geteuid() != 0 {
			return errors.New("the engine is not running, and only root can start it: run tutti as root, for example with sudo")
		}
		return startEngine(ctx, p, engineEnviron(a.environ))
	})
	build, err := c.EngineBuild(ctx)
	if err == nil {
		err = a.replaceEngine(ctx, c, build)
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("permission denied on the engine's socket %s: run tutti as root, for example with sudo", p.Socket())
	}
	return c, err
}

// passedOn are the variables that the engine takes over from whoever happens to start it: where programs are, and how
// registries are reached. The rest of a user's environment is nothing for a process that serves everybody.
var passedOn = []string{
	"PATH", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "GOGC", "GOMEMLIMIT",
}

func engineEnviron(environ []string) []string {
	var out []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "TUTTI_") {
			out = append(out, e)
			continue
		}
		for _, p := range passedOn {
			if name == p {
				out = append(out, e)
			}
		}
	}
	return out
}

// connectProject returns a client of the engine, and the name of the project that a command is about.
func (a *app) connectProject(ctx context.Context) (c *api.Client, name string, err error) {
	if name, err = a.projectName(); err != nil {
		return nil, "", err
	}
	c, err = a.connect(ctx)
	return c, name, err
}

// projectContainers returns a client of the engine, and the containers of the project that a command is about.
func (a *app) projectContainers(ctx context.Context) (c *api.Client, all []api.Container, err error) {
	c, name, err := a.connectProject(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, err = c.Containers(ctx, name)
	return c, all, err
}

// get asks the engine for what is at a path of its API.
func get[T any](ctx context.Context, a *app, path string) (answer T, err error) {
	c, err := a.connect(ctx)
	if err != nil {
		return answer, err
	}
	return answer, c.Get(ctx, path, &answer)
}
