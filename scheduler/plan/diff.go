package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tutti/project"
)

// Errors about a project that cannot be planned; the message names the service.
var (
	// ErrNoSuchService is returned for options that name a service that is not there.
	ErrNoSuchService = errors.New("no such service")
	// ErrNoImage is returned when an image is missing and may not be pulled or built.
	ErrNoImage = errors.New("image is missing")
	// ErrNoExternal is returned when an external network or volume does not exist.
	ErrNoExternal = errors.New("external resource does not exist")
)

// Diff plans what `up` has to do to make the state match the project. It never plans to
// change what is right already: applied twice, the second plan is empty, but for
// services whose containers have ended and are started again as docker compose does,
// jobs that were successful excepted.
func Diff(p *project.Project, s State, o Options) (*Plan, error) {
	d := newDiffer(p, s, o)
	if err := d.checkOptions(); err != nil {
		return nil, err
	}
	if err := d.images(); err != nil {
		return nil, err
	}
	if d.refreshesUsedImages() {
		plan := d.build.plan(p.Name)
		plan.Replan = true
		return plan, nil
	}
	if err := d.networks(); err != nil {
		return nil, err
	}
	if err := d.volumes(); err != nil {
		return nil, err
	}
	delete(d.active, o.OneOff)
	for _, name := range d.order {
		d.service(name)
	}
	d.restartDependents()
	d.orderStops()
	if !o.NoStart {
		d.conditions()
	}
	d.oneOffConditions()
	d.orphans()
	d.passNames()
	if o.Wait && !o.NoStart {
		d.awaitServices()
	}
	return d.build.plan(p.Name), nil
}

// differ is the state of one Diff.
type differ struct {
	p     *project.Project
	s     State
	o     Options
	build *builder

	edges edges
	order []string // every enabled service, dependencies first
	// active are the services that this plan is about; named those among them that
	// the user named, or all of them.
	active, named map[string]bool
	containers    map[string][]Container // by service, without those of `run`
	networkByName map[string]Network
	volumeByName  map[string]Volume

	imageOps   map[string]string // image reference → operation
	networkOps map[string]string // network key → operation
	volumeOps  map[string]string // volume key → operation
	renewed    map[string]bool   // names of networks that are made anew
	renewals   renewals
	fates      map[string]*fate           // by service
	recreated  map[string]map[string]bool // service → ids of its containers that are replaced
	jobs       map[string]bool            // see isJob; nil until it is asked for
}

// renewals are the operations on networks that are made anew: all are removed before any is made, and all are made before a
// container is on one of them, so that the firewall changes once for each of these.
type renewals struct {
	removed, made []string
}

// fate is what a plan does to a service's containers.
type fate struct {
	scale   int
	kept    []Container // stay as they are, but may be started or restarted
	creates []string    // operations that create containers
	starts  []string    // operations that start containers
	stops   []string    // operations that stop containers
	done    bool        // a job that has succeeded and is not run again
	touched map[string]bool
}

func newDiffer(p *project.Project, s State, o Options) *differ {
	d := &differ{
		p: p, s: s, o: o, build: newBuilder(),
		active: map[string]bool{}, named: map[string]bool{},
		containers:    map[string][]Container{},
		networkByName: map[string]Network{}, volumeByName: map[string]Volume{},
		imageOps: map[string]string{}, networkOps: map[string]string{}, volumeOps: map[string]string{},
		renewed: map[string]bool{}, fates: map[string]*fate{}, recreated: map[string]map[string]bool{},
	}
	d.edges, d.order = fileEdges(p)
	for _, c := range s.Containers {
		if !c.OneOff {
			d.containers[c.Service] = append(d.containers[c.Service], c)
		}
	}
	for _, list := range d.containers {
		slices.SortFunc(list, func(a, b Container) int { return a.Number - b.Number })
	}
	for _, n := range s.Networks {
		d.networkByName[n.Name] = n
	}
	for _, v := range s.Volumes {
		d.volumeByName[v.Name] = v
	}
	d.selectServices()
	return d
}

func (d *differ) selectServices() {
	names := d.o.Services
	if len(names) == 0 {
		names = d.order
	}
	for _, name := range names {
		d.named[name] = true
	}
	d.active = d.edges.with(names)
	if d.o.NoDeps {
		d.active = maps.Clone(d.named)
	}
}

func (d *differ) checkOptions() error {
	for _, name := range d.o.Services {
		if _, ok := d.p.Services[name]; !ok {
			return fmt.Errorf("%w: %q; the services are: %s", ErrNoSuchService, name, strings.Join(d.p.ServiceNames(), ", "))
		}
	}
	for name, n := range d.o.Scale {
		s, ok := d.p.Services[name]
		switch {
		case !ok:
			return fmt.Errorf("%w: %q given with --scale", ErrNoSuchService, name)
		case n < 0:
			return fmt.Errorf("service %q cannot be scaled to %d", name, n)
		case n > 1 && s.ContainerName != "":
			return fmt.Errorf("service %q cannot be scaled to %d: its containers cannot share the container_name %q", name, n, s.ContainerName)
		}
	}
	if !slices.Contains([]string{"", "policy", "always", "missing", "if_not_present", "never", "build"}, d.o.Pull) {
		return fmt.Errorf("--pull cannot be %q: use always, missing, never, build or policy", d.o.Pull)
	}
	for _, clash := range []struct {
		set  bool
		text string
	}{
		{d.o.ForceRecreate && d.o.NoRecreate, "--force-recreate and --no-recreate"},
		{d.o.AlwaysRecreateDeps && d.o.NoRecreate, "--always-recreate-deps and --no-recreate"},
		{d.o.Build && d.o.NoBuild, "--build and --no-build"},
		{d.o.Wait && d.o.NoStart, "--wait and --no-start"},
	} {
		if clash.set {
			return fmt.Errorf("%s exclude each other", clash.text)
		}
	}
	return nil
}

// scale is how many containers a service should have.
func (d *differ) scale(name string) int {
	if n, ok := d.o.Scale[name]; ok {
		return n
	}
	s := d.p.Services[name]
	return s.GetScale()
}
