package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tutti/project"
	"tutti/project/watching"
	"tutti/scheduler/api"
	"tutti/scheduler/layout"
)

// watchFlags are those of watch.
type watchFlags struct {
	noUp, quiet, prune bool
}

func (a *app) watchCommand() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:         "watch [OPTIONS] [SERVICE...]",
		Short:       "Watch build context for service and rebuild/refresh containers when files are updated",
		Annotations: heeds(heedsDryRun, heedsParallel),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			return a.watch(ctx, services, f)
		}),
	}
	cmd.Flags().BoolVar(&f.noUp, "no-up", false, "Do not build & start services before watching")
	cmd.Flags().BoolVar(&f.quiet, "quiet", false, "Hide build output")
	cmd.Flags().BoolVar(&f.prune, "prune", true, "Prune dangling images on rebuild")
	return cmd
}

// watch brings services up and keeps them as the files are, until it is interrupted; they go on running then.
func (a *app) watch(ctx context.Context, services []string, f watchFlags) error {
	p, err := a.load(ctx, services)
	if err != nil {
		return err
	}
	if f.noUp { // else the engine passes them on
		for _, text := range p.Warnings() {
			a.warn(text)
		}
	}
	set, err := watching.New(p, services)
	if err != nil {
		return err
	}
	unlock, err := a.lockWatch(p.Name)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	w := newWatchSession(a, c, p, set, watchOptions{
		services: services, quiet: f.quiet, prune: f.prune, noUp: f.noUp, parallel: a.parallel,
		say:   func(text string) { fmt.Fprintln(a.out, a.dryMark()+text) },
		above: func(write func()) { write() },
	})
	if err := w.open(); err != nil { // before `up`: what is changed meanwhile counts
		return err
	}
	defer w.close()
	if !f.noUp {
		if err := a.bringUp(ctx, c, p, services, mustBuild(p, set.Services), w.o); err != nil {
			return err
		}
	}
	return w.run(ctx)
}

// mustBuild tells whether a service that is watched is built: such a project is built before it is watched.
func mustBuild(p *project.Project, services []string) bool {
	return slices.ContainsFunc(services, func(name string) bool {
		return p.Services[name].Build != nil && p.Services[name].Develop != nil
	})
}

// lockWatch lets one `watch` at a time look after a project.
func (a *app) lockWatch(name string) (unlock func(), err error) {
	l, err := layout.New(a.root)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(l.Socket())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the engine's socket: %w: run tutti as root, for example with sudo", err)
	}
	path := filepath.Join(dir, "watch-"+name+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot take exclusive lock for project %q: %w", name, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		return nil, fmt.Errorf("cannot take exclusive lock for project %q: process with PID %s is still running", name, holder[:n])
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprint(f, os.Getpid()) // for the message alone
	return func() {
		_ = os.Remove(path)
		_ = f.Close()
	}, nil
}

// bringUp brings services up as `up -d` does.
func (a *app) bringUp(ctx context.Context, c *api.Client, p *project.Project, services []string, build bool, o watchOptions) error {
	model, err := p.Encode()
	if err != nil {
		return err
	}
	request := api.UpRequest{
		Project: model, Client: a.clientContext(),
		Options: api.UpOptions{Services: services, Build: build, DryRun: a.dryRun, Parallel: o.parallel},
	}
	return a.verb(ctx, c, "up", request, displayOptions{quietPull: o.quiet, quietBuild: o.quiet})
}

// dryMark begins what a dry run says.
func (a *app) dryMark() string {
	if a.dryRun {
		return dryRunMark
	}
	return ""
}
