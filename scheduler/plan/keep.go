package plan

import (
	"fmt"
	"slices"
)

// Wait is a dependency that a container which is to start waits for.
type Wait struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition"`
	Because   string    `json:"because"` // how the service is, in words: "db-1 is unhealthy"
}

// String says it in words: "db to be healthy (db-1 is starting)".
func (w Wait) String() string {
	return fmt.Sprintf("%s to be %s (%s)", w.Service, w.Condition.Word(), w.Because)
}

// Unmet are the dependencies that a container has to wait for before it is started by itself: at boot, by its restart
// policy, because of another one. all are the project's containers.
//
// One container that is as the condition asks is enough; `up` waits for all, but a replica that crashes again and again
// must not keep others from coming back. Nothing waits for a service that has no container. A plain start is only waited
// for while it is on its way, and so is what is not required: that a container which nobody starts stays down is no reason
// to stay down, too. All else is waited for until it is so.
func Unmet(c Container, all []Container) []Wait {
	var waits []Wait
	for _, d := range c.DependsOn {
		condition := d.Condition
		if condition == "" {
			condition = Started
		}
		others := instances(all, d.Service)
		if len(others) == 0 || slices.ContainsFunc(others, func(o Container) bool { return fulfils(condition, o) }) {
			continue
		}
		coming := slices.ContainsFunc(others, func(o Container) bool { return o.Status == Restarting || o.Status == Running })
		if !coming && (condition == Started || !d.Required) {
			continue
		}
		waits = append(waits, Wait{Service: d.Service, Condition: condition, Because: others[0].Describe()})
	}
	return waits
}

// instances are the containers of a service, without those of `run`, by number.
func instances(all []Container, service string) []Container {
	var list []Container
	for _, c := range all {
		if c.Service == service && !c.OneOff {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Container) int { return a.Number - b.Number })
	return list
}

// fulfils tells whether a container is as a condition asks. One without a health check is as healthy as it can be told.
func fulfils(condition Condition, c Container) bool {
	switch condition {
	case Started:
		return c.Status == Running || c.Status == Paused
	case Healthy:
		return c.Status == Running && (c.Health == HealthHealthy || c.Health == "")
	case Completed:
		return c.Status == Exited && c.ExitCode == 0
	}
	return false
}

// Describe says how a container is, in words: "db-1 is starting".
func (c Container) Describe() string {
	switch c.Status {
	case Running:
		if c.Health != "" {
			return c.Name + " is " + string(c.Health)
		}
	case Exited, Dead:
		return fmt.Sprintf("%s has exited with %d", c.Name, c.ExitCode)
	case Created:
		return c.Name + " was never started"
	case Paused, Restarting:
	}
	return c.Name + " is " + string(c.Status)
}

// Follow is a container that has to be restarted because something that it depends on was.
type Follow struct {
	Container  Container
	Dependency string // the service
}

// Followers are the running containers with a dependency of `restart: true` that has been restarted after they were
// started themselves, as soon as all that they depend on is again as they ask: several restarts at the same time make one
// of theirs. A container that was restarted for this is newer than its dependency, and the graph has no cycles: it comes to
// an end.
func Followers(all []Container) []Follow {
	var list []Follow
	for _, c := range all {
		if c.Status != Running || c.OneOff {
			continue
		}
		for _, d := range c.DependsOn {
			newer := func(o Container) bool { return o.Again > c.Seq }
			if d.Restart && slices.ContainsFunc(instances(all, d.Service), newer) {
				if len(Unmet(c, all)) == 0 {
					list = append(list, Follow{Container: c, Dependency: d.Service})
				}
				break
			}
		}
	}
	return list
}

// Boot decides what is started after the host has booted, given the containers that their restart policies start: these,
// and the jobs that they wait for and that have not succeeded before. A job that has is not run again: what it did is in
// volumes, which outlive a boot.
func Boot(all []Container, byPolicy map[string]bool) map[string]bool {
	starts := map[string]bool{}
	var queue []Container
	add := func(c Container) {
		if !starts[c.ID] {
			starts[c.ID] = true
			queue = append(queue, c)
		}
	}
	for _, c := range all {
		if byPolicy[c.ID] {
			add(c)
		}
	}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		for _, d := range c.DependsOn {
			jobs := instances(all, d.Service)
			done := slices.ContainsFunc(jobs, func(o Container) bool { return fulfils(Completed, o) })
			if d.Condition != Completed || done {
				continue
			}
			for _, job := range jobs {
				if job.Status != Running && job.Status != Paused {
					add(job)
				}
			}
		}
	}
	return starts
}
