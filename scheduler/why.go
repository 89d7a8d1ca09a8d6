package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tutti/project"
	"tutti/runtime/image"
	"tutti/runtime/logs"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/diagnose"
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// Why explains the state of services of a project, of all without names. What is known is the model that was applied last,
// the containers, what the last command did, and what is going on.
func (s *Scheduler) Why(ctx context.Context, name string, services []string) (api.Why, error) {
	model, err := s.AppliedModel(name)
	if err != nil {
		return api.Why{}, err
	}
	h, err := s.loadHistory(name)
	if err != nil { // what else is known still explains much
		s.Log.Warn("read the project's history", "project", name, "error", err)
		h = history{}
	}
	w := &inquiry{s: s, name: name, model: model, history: h, now: time.Now().UTC()}
	known := w.services()
	if len(known) == 0 {
		return api.Why{}, fmt.Errorf("%w project: %s: nothing was brought up, or `down` has taken it away", engine.ErrNoSuch, name)
	}
	if len(services) == 0 {
		services = known
	}
	report := api.Why{Project: name, At: w.now, Services: []api.ServiceWhy{}, Notes: w.firewall(ctx)}
	if !h.Last.Began.IsZero() {
		report.Last = &h.Last
	}
	for _, s := range services {
		if !slices.Contains(known, s) {
			return api.Why{}, fmt.Errorf("%w service: %s; the services are: %s", engine.ErrNoSuch, s, strings.Join(known, ", "))
		}
		report.Services = append(report.Services, w.service(ctx, s))
	}
	return report, nil
}

// firewall says when others had removed rules of ours, and puts back what is missing now.
func (w *inquiry) firewall(ctx context.Context) (notes []string) {
	incidents, err := w.s.NetDriver.CheckFirewall(ctx)
	for _, i := range incidents {
		notes = append(notes, i.String())
	}
	if err != nil {
		notes = append(notes, "the firewall's rules cannot be set: "+err.Error())
	}
	return notes
}

// inquiry is one question why.
type inquiry struct {
	s       *Scheduler
	name    string
	model   *project.Project // nil: unknown
	history history
	now     time.Time
}

// services are all that the model has, and those of containers that have left it, sorted.
func (w *inquiry) services() []string {
	var names []string
	if w.model != nil {
		names = w.model.ServiceNames()
	}
	for _, u := range w.s.ProjectUnits(w.name) {
		if !u.Config.OneOff {
			names = append(names, u.Config.Service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (w *inquiry) service(ctx context.Context, name string) api.ServiceWhy {
	s := api.ServiceWhy{Service: name, Verdict: api.VerdictOK}
	alive := false
	for _, u := range w.s.ServiceUnits(w.name, name) {
		c := w.container(ctx, u)
		s.Containers = append(s.Containers, c)
		if worst := diagnose.Worst(s.Verdict, c.Verdict); worst != s.Verdict || s.Summary == "" {
			s.Verdict, s.Summary = worst, c.Summary
		}
		alive = alive || u.Snapshot().Alive()
	}
	if f, ok := w.history.Failures[name]; ok {
		s.Failure = &f
	}
	s.Doing = w.s.doing.about(w.model, w.name, name)
	if !alive {
		s.Waits = w.waits(name)
		s.Ports = w.portHolders(name)
	}
	w.image(ctx, &s)
	s.Path = diagnose.CriticalPath(w.history.Steps, name)
	w.addHealth(&s)
	w.judge(&s)
	return s
}

// image finds whether the image of a service without containers is there.
func (w *inquiry) image(ctx context.Context, s *api.ServiceWhy) {
	if w.model == nil || !w.inModel(s.Service) {
		return
	}
	s.Image = w.model.ImageName(s.Service)
	_, err := w.s.ImageStore.Get(ctx, s.Image)
	s.ImageMissing = len(s.Containers) == 0 && errors.Is(err, image.ErrNotFound)
}

func (w *inquiry) inModel(service string) bool {
	if w.model == nil {
		return false
	}
	_, ok := w.model.Services[service]
	return ok
}

// judge completes a service's verdict with what its containers do not know.
func (w *inquiry) judge(s *api.ServiceWhy) {
	wanted := 1
	if w.inModel(s.Service) {
		service := w.model.Services[s.Service]
		wanted = service.GetScale()
		if service.Provider != nil {
			wanted = 0
		}
	}
	none := len(s.Containers) == 0
	notStarted := none || s.Verdict == api.VerdictStopped && strings.HasPrefix(s.Summary, "created")
	switch {
	case len(s.Doing) > 0 && s.Verdict != api.VerdictOK || len(s.Doing) > 0 && none:
		s.Verdict, s.Summary = api.VerdictWaiting, s.Doing[0].What+", since "+w.now.Sub(s.Doing[0].Since).Round(100*time.Millisecond).String()
	case notStarted && s.Failure != nil:
		s.Verdict, s.Summary = api.VerdictFailed, fmt.Sprintf("`%s` could not start it", s.Failure.Verb)
	case notStarted && w.history.Failures[""].Text != "":
		f := w.history.Failures[""]
		s.Verdict, s.Failure, s.Summary = api.VerdictFailed, &f, fmt.Sprintf("`%s` failed before it was its turn", f.Verb)
	case none && wanted == 0:
		s.Summary = "it is to have no container"
	case none && len(w.history.Last.Services) > 0 && !slices.Contains(w.history.Last.Services, s.Service):
		s.Verdict, s.Summary = api.VerdictAbsent, fmt.Sprintf("not created: the last `%s` was for %s", w.history.Last.Verb, strings.Join(w.history.Last.Services, ", "))
	case none && w.history.Last.Error != "":
		f := api.Failure{Verb: w.history.Last.Verb, At: w.history.Last.Ended, Text: w.history.Last.Error}
		s.Verdict, s.Failure, s.Summary = api.VerdictFailed, &f, fmt.Sprintf("not created: `%s` failed", f.Verb)
	case none:
		s.Verdict, s.Summary = api.VerdictStopped, "not created, or removed since"
	}
	if s.Verdict == api.VerdictOK {
		s.Failure = nil // it has been overcome
	}
}

// waits are a service's dependencies and how they are.
func (w *inquiry) waits(service string) []api.Wait {
	var deps []plan.Dependency
	if units := w.s.ServiceUnits(w.name, service); len(units) > 0 {
		deps = units[0].Config.DependsOn
	} else if w.inModel(service) {
		deps = (&run{s: w.s, name: w.name, project: w.model}).dependencies(service)
	}
	var list []api.Wait
	for _, d := range deps {
		wait := api.Wait{Service: d.Service, Condition: string(d.Condition), Optional: !d.Required, Met: true}
		units := w.s.ServiceUnits(w.name, d.Service)
		if len(units) == 0 {
			wait.Met, wait.State = false, "not created"
		}
		var states []string
		for _, u := range units {
			s := u.Snapshot()
			states = append(states, s.Describe(w.now))
			check := hasStarted
			switch d.Condition {
			case plan.Healthy:
				check = isHealthy(u, false)
			case plan.Completed:
				check = hasCompleted(u)
			case plan.Started:
			}
			met, err := check(s)
			wait.Met = wait.Met && met && err == nil
		}
		if wait.State == "" {
			wait.State = strings.Join(states, "; ")
		}
		list = append(list, wait)
	}
	return list
}

// portHolders are the ports of the host that a service which does not run wants, and somebody else has now.
func (w *inquiry) portHolders(service string) []api.PortHolder {
	var ports []container.Port
	if units := w.s.ServiceUnits(w.name, service); len(units) > 0 {
		ports = units[0].Config.Ports
	} else if w.inModel(service) {
		c, err := container.FromService(w.model, w.model.Services[service], container.Image{Cmd: []string{"true"}})
		if err != nil {
			return nil // the failure of the last command says so
		}
		ports = c.Ports
	}
	specs, err := engine.PortSpecs(ports)
	if err != nil {
		return nil
	}
	var list []api.PortHolder
	for _, s := range specs {
		err := w.s.NetDriver.CheckPort(s)
		if err == nil {
			continue
		}
		h := api.PortHolder{Port: fmt.Sprintf("%d/%s", s.HostPort, s.Proto), Holder: err.Error()}
		if s.HostIP.IsValid() {
			h.Port = s.HostIP.String() + ":" + h.Port
		}
		if owner := w.s.PortOwner(s.HostPort, s.Proto); owner != nil {
			h.Holder, h.Project, h.Service = "container "+owner.Name(), owner.Config.Project, owner.Config.Service
		} else if _, by, ok := strings.Cut(h.Holder, ", by "); ok {
			h.Holder = "process " + by
		}
		list = append(list, h)
	}
	return list
}

// addHealth completes a service's path with the time from its start to its health, which `up` waits for only when
// another service does.
func (w *inquiry) addHealth(s *api.ServiceWhy) {
	units := w.s.ServiceUnits(w.name, s.Service)
	if len(s.Path) == 0 || len(units) == 0 {
		return
	}
	st := units[0].Snapshot()
	last := s.Path[len(s.Path)-1]
	if st.Healthy.IsZero() || st.Started.Before(w.history.Last.Began) || strings.HasPrefix(last.What, "wait") {
		return
	}
	s.Path = append(s.Path, api.PathStep{What: "until " + s.Service + " is healthy", After: last.After + last.Took, Took: st.Healthy.Sub(st.Started)})
}

func (w *inquiry) container(ctx context.Context, u *engine.Unit) api.ContainerWhy {
	s, c := u.Snapshot(), &u.Config
	policy := c.Now(s).Restart
	why := api.ContainerWhy{
		Name: c.Name, State: string(s.Status), Status: s.Describe(w.now), Health: s.HealthStatus(), Error: s.Error,
		Exit: diagnose.Exit(s.Ended(), engine.SignalName), Previous: diagnose.Exit(s.Before, engine.SignalName),
	}
	var again time.Time
	if s.Status == container.Restarting {
		ran := s.Finished.Sub(s.Started)
		if after, ok := policy.Next(supervise.Exit{Code: s.ExitCode, Ran: ran, Restarts: s.Restarts, Delay: s.Delay}); ok {
			again = s.Finished.Add(after)
		}
	}
	why.Verdict, why.Summary = diagnose.Container(s, policy.Name, policy.MaxRetries, again, w.now, engine.SignalName)
	if s.Restarts > 0 || s.Status == container.Restarting {
		why.Restart = &api.Restart{Policy: policy.Name, Count: s.Restarts, Max: policy.MaxRetries, Next: again}
		why.Restart.GaveUp = s.Status == container.Exited && !s.Stopped && s.ExitCode != 0
	}
	if s.Restarts == 0 {
		why.Previous = nil // a user has started it since
	}
	if p := u.Running(); p != nil {
		why.OOM = diagnose.OOM(engine.OutOfMemory(p))
	}
	probes := s.Probes
	if s.Health != nil {
		probes = s.Health.Log
	}
	for _, r := range probes {
		why.Probes = append(why.Probes, api.Probe{At: r.Start, Took: r.End.Sub(r.Start), Code: r.Code, Output: r.Output})
	}
	why.Log = w.lastLines(ctx, u)
	return why
}

// lastLines is the end of a container's log.
func (w *inquiry) lastLines(ctx context.Context, u *engine.Unit) []api.Line {
	if u.Log == nil {
		return nil
	}
	var list []api.Line
	_ = u.Log.Read(ctx, logs.ReadOptions{Tail: engine.LastLines}, func(l logs.Entry) error { // a log that cannot be read explains nothing
		list = append(list, api.Line{At: l.Time, Stream: l.Stream, Text: string(bytes.TrimRight(l.Line, "\r\n"))})
		return nil
	})
	return list
}
