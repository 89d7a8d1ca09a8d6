package plan

import "slices"

// A job is a service that another one waits for with service_completed_successfully: it is there for what it leaves
// behind. docker compose runs a job again at every `up` (docker/compose#11808). Here one that has succeeded is run again
// only when its result may not be valid any more, or when somebody asks.

// isJob tells whether a service is one.
func (d *differ) isJob(service string) bool {
	if d.jobs == nil {
		d.jobs = map[string]bool{}
		for _, edges := range d.edges {
			for _, e := range edges {
				d.jobs[e.Service] = d.jobs[e.Service] || e.Condition == Completed
			}
		}
	}
	return d.jobs[service]
}

// rerun says why a job that has succeeded is run again; empty when it is not. Its own configuration and image are as they
// were, or its container would be replaced.
func (d *differ) rerun(c Container) string {
	if slices.Contains(d.o.Services, c.Service) {
		return "it was asked for"
	}
	for _, name := range d.order {
		other := d.fates[name]
		if name == c.Service || other == nil || !d.edges.with([]string{c.Service})[name] {
			continue
		}
		if len(other.creates) > 0 {
			return "what it depends on is created: " + name
		}
		for _, o := range other.kept {
			if o.Created.After(c.Finished) {
				return "what it depends on was created since it succeeded: " + name
			}
		}
	}
	return ""
}
