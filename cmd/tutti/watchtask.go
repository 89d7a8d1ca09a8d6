package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tutti/cmd/tutti/bringing"
	"tutti/cmd/tutti/progress"
	"tutti/project"
	"tutti/project/watching"
	"tutti/scheduler/api"
)

// watchTask is what has to be done for some services at a time.
type watchTask struct {
	a    *app
	c    *api.Client
	o    watchOptions
	p    *project.Project
	work map[string]*watching.Work
}

// run does it: what fails is told, and the rest is done nevertheless. It says whether images were built.
func (t *watchTask) run(ctx context.Context) (rebuilt bool) {
	services := slices.Sorted(maps.Keys(t.work))
	chosen := func(is func(*watching.Work) bool) []string {
		return slices.DeleteFunc(slices.Clone(services), func(s string) bool { return !is(t.work[s]) })
	}
	if list := chosen(func(w *watching.Work) bool { return w.Rebuild }); len(list) > 0 {
		rebuilt = t.told(ctx, t.rebuild(ctx, list))
	}
	for _, service := range chosen(func(w *watching.Work) bool { return len(w.Copies) > 0 }) {
		copies := t.work[service].Copies
		t.o.say(fmt.Sprintf("Syncing service %q after %d changes were detected", service, len(copies)))
		t.told(ctx, t.copy(ctx, service, copies))
	}
	if list := chosen(func(w *watching.Work) bool { return w.Restart }); len(list) > 0 && t.told(ctx, t.restart(ctx, list)) {
		t.o.say(fmt.Sprintf("service(s) %q restarted", list))
	}
	for _, service := range chosen(func(w *watching.Work) bool { return len(w.Execs) > 0 }) {
		for _, key := range slices.Sorted(maps.Keys(t.work[service].Execs)) {
			t.told(ctx, t.exec(ctx, service, t.work[service].Execs[key]))
		}
	}
	return rebuilt
}

// told tells an error and says whether there was none.
func (t *watchTask) told(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil && !errors.Is(err, errTold) {
		t.o.above(func() { t.a.warn("Error handling changed files: " + project.ShortenPosition(err.Error())) })
	}
	return err == nil
}

// again asks once more when the engine has died meanwhile.
func (t *watchTask) again(ctx context.Context, ask func() error) error {
	for try := 1; ; try++ {
		err := ask()
		if err == nil || try == watchTries || ctx.Err() != nil || !engineGone(err) {
			return err
		}
		if err := awaitEngine(ctx, t.c); err != nil {
			return err
		}
	}
}

// watchTries bounds how often something is asked for when one engine after the other dies.
const watchTries = 3

// rebuild builds images and replaces the containers whose images have become others.
func (t *watchTask) rebuild(ctx context.Context, services []string) error {
	t.o.say(fmt.Sprintf("Rebuilding service(s) %q after changes were detected...", services))
	model, err := t.p.Encode()
	if err != nil {
		return err
	}
	before, dependents := t.before(ctx, services)
	build := api.BuildRequest{Project: model, Services: services, Client: t.a.clientContext(), DryRun: t.a.dryRun}
	if err := t.again(ctx, func() error { return t.verb(ctx, "build", build) }); err != nil {
		if ctx.Err() == nil {
			t.o.say("Build failed. Error: " + project.ShortenPosition(err.Error()))
		}
		return errTold
	}
	t.o.say(fmt.Sprintf("service(s) %q successfully built", services))
	up := api.UpRequest{Project: model, Client: build.Client, Options: api.UpOptions{
		Services: append(dependents, services...), NoBuild: true, Pull: "never", DryRun: t.a.dryRun, Parallel: t.o.parallel, Scale: t.o.scale,
	}}
	if err := t.again(ctx, func() error { return t.verb(ctx, "up", up) }); err != nil {
		if ctx.Err() == nil {
			t.o.say("Failed to recreate services after update. Error: " + project.ShortenPosition(err.Error()))
		}
		return errTold
	}
	if t.o.prune && !t.a.dryRun {
		t.removeImages(ctx, before)
	}
	return nil
}

// errTold: what went wrong has been said.
var errTold = errors.New("it has been said")

// verb lets the engine carry out a verb. What builds say goes where the watch speaks, the rest to stderr.
func (t *watchTask) verb(ctx context.Context, verb string, request any) error {
	states := t.a.display(ctx, verb, displayOptions{noBlock: true, quietBuild: true})
	defer states.Close()
	builds := progress.New(ctx, progress.Options{Out: &saidLines{say: t.o.say}, Mode: progress.Plain, OnlyBuilds: true, QuietBuild: t.o.quiet})
	defer builds.Close()
	return t.c.Stream(ctx, verb, request, func(e api.Event) {
		switch {
		case e.Kind == api.KindPlan:
			t.o.above(func() { t.a.printPlan(e.Text) })
			return
		case e.Kind == api.KindBuild, e.Resource == "Image":
			builds.Event(e)
		}
		t.o.above(func() { states.Event(e) })
	})
}

// saidLines says what is written to it, line by line.
type saidLines struct {
	say  func(string)
	held []byte
}

func (l *saidLines) Write(b []byte) (int, error) {
	l.held = append(l.held, b...)
	for {
		line, rest, whole := bytes.Cut(l.held, []byte{'\n'})
		if !whole {
			return len(b), nil
		}
		l.say(string(line))
		l.held = rest
	}
}

// before are the ids of the images that services' containers are made of, and the services that run and want to be restarted when
// those are replaced.
func (t *watchTask) before(ctx context.Context, services []string) (images map[string]bool, dependents []string) {
	images = map[string]bool{}
	all, err := t.c.Containers(ctx, t.p.Name)
	if err != nil {
		return images, nil // what is wrong shows when something is done
	}
	for _, c := range all {
		if slices.Contains(services, c.Service) {
			images[c.ImageID] = true
		}
	}
	dependents = slices.DeleteFunc(watching.Dependents(t.p, services), func(s string) bool {
		return !slices.ContainsFunc(all, func(c api.Container) bool { return c.Service == s && slices.Contains(liveStates, c.State) })
	})
	return images, dependents
}

// removeImages removes images that have lost their names and are not used any more. That others remain is no fault.
func (t *watchTask) removeImages(ctx context.Context, ids map[string]bool) {
	for id := range ids {
		var image struct{ RepoTags []string }
		path := "/images/" + url.PathEscape(id)
		if err := t.c.Get(ctx, path+"/json", &image); err == nil && len(image.RepoTags) == 0 {
			_ = t.c.Call(ctx, http.MethodDelete, path, nil, nil)
		}
	}
}

// containers are those of a service, running or not; with alive only those that run.
func (t *watchTask) containers(ctx context.Context, service string, alive bool) ([]api.Container, error) {
	all, err := t.c.Containers(ctx, t.p.Name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(containersOf(all, service, 0, false), func(c api.Container) bool {
		return c.State == "removing" || c.State == "dead" || alive && !slices.Contains(liveStates, c.State)
	}), nil
}

// maxCopies is how many containers are copied into at a time, as with docker compose.
const maxCopies = 16

// copy makes the files of all containers of a service what they are here. One that is replaced meanwhile is looked for again.
func (t *watchTask) copy(ctx context.Context, service string, copies map[string]watching.Copy) error {
	if t.a.dryRun {
		return nil
	}
	list := make([]bringing.File, 0, len(copies))
	for _, c := range copies {
		list = append(list, bringing.File(c))
	}
	done := map[string]bool{}
	for {
		targets, err := t.containers(ctx, service, false)
		if err != nil {
			return err
		}
		targets = slices.DeleteFunc(targets, func(c api.Container) bool { return done[c.ID] })
		if len(targets) == 0 {
			return nil
		}
		again := false
		var mu sync.Mutex
		var all errgroup.Group
		all.SetLimit(maxCopies)
		var errs []error
		for _, c := range targets {
			done[c.ID] = true
			all.Go(func() error {
				err := t.copyInto(ctx, c, list)
				mu.Lock()
				defer mu.Unlock()
				if err != nil && replacedMeanwhile(err) {
					again = true
				} else if err != nil {
					errs = append(errs, fmt.Errorf("copying files to %s: %w", c.Name, err))
				}
				return nil
			})
		}
		_ = all.Wait() // each has said what went wrong
		if len(errs) > 0 || !again {
			return errors.Join(errs...)
		}
	}
}

// replacedMeanwhile: the container has gone, or goes.
func replacedMeanwhile(err error) bool {
	return strings.Contains(err.Error(), "No such container") || strings.Contains(err.Error(), "is being removed")
}

func (t *watchTask) copyInto(ctx context.Context, c api.Container, list []bringing.File) error {
	return t.again(ctx, func() error {
		skipped, err := bringing.Bring(ctx, t.c, c.ID, list)
		for _, path := range skipped {
			t.o.above(func() {
				t.a.warn(fmt.Sprintf("service %q: %s is not copied: it is a socket or a device, or may not be read", c.Service, path))
			})
		}
		return err
	})
}

// restart restarts services, and those that want to be restarted with them.
func (t *watchTask) restart(ctx context.Context, services []string) error {
	model, err := t.p.Encode()
	if err != nil {
		return err
	}
	q := api.ServicesRequest{Name: t.p.Name, Project: model, Services: services, DryRun: t.a.dryRun}
	return t.again(ctx, func() error { return t.verb(ctx, "restart", q) })
}

// exec runs a command in every running container of a service.
func (t *watchTask) exec(ctx context.Context, service string, e watching.Exec) error {
	if t.a.dryRun {
		return nil
	}
	targets, err := t.containers(ctx, service, true)
	if err != nil {
		return err
	}
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, c := range targets {
		all.Go(func() {
			l := &link{a: t.a, c: t.c, object: "exec", display: t.a.display(ctx, "exec", displayOptions{})}
			code, err := l.run(ctx, "exec", api.ExecRequest{
				Container: c.ID, Args: e.Command, Env: e.Environment, User: e.User, WorkingDir: e.WorkingDir, Privileged: e.Privileged,
			})
			if err == nil && code != 0 {
				err = fmt.Errorf("exit code %d", code)
			}
			if err != nil {
				errs[i] = fmt.Errorf("the command of sync+exec failed in %s: %w", c.Name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// apply brings up what the model says. After --no-up only services are touched that have containers.
func (t *watchTask) apply(ctx context.Context, services []string) error {
	if t.o.noUp {
		all, err := t.c.Containers(ctx, t.p.Name)
		if err != nil {
			return err
		}
		if len(services) == 0 {
			services = t.p.ServiceNames()
		} else {
			services = t.p.Graph().With(services...)
		}
		services = slices.DeleteFunc(slices.Clone(services), func(s string) bool {
			return !slices.ContainsFunc(all, func(c api.Container) bool { return c.Service == s && !c.OneOff })
		})
		if len(services) == 0 {
			return nil
		}
	}
	model, err := t.p.Encode()
	if err != nil {
		return err
	}
	return t.again(ctx, func() error {
		return t.verb(ctx, "up", api.UpRequest{Project: model, Client: t.a.clientContext(), Options: api.UpOptions{
			Services: services, NoDeps: t.o.noUp, Build: mustBuild(t.p, t.p.ServiceNames()), DryRun: t.a.dryRun, Parallel: t.o.parallel, Scale: t.o.scale,
		}})
	})
}
