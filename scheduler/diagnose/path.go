// Package diagnose says in words why things are as they are: how a container ended, what a service waits for, what its
// start spent its time on. It is pure: it is given what is known.
package diagnose

import (
	"slices"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/plan"
)

// Step is an operation of a plan that was carried out, with its times.
type Step struct {
	plan.Op
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
	Failed bool      `json:"failed,omitempty"`
}

// CriticalPath is the chain of operations that the last start of a service had to wait for: from its last operation back,
// each time to the one of those before it that ended last. Steps that took no time worth telling are left out, but for the
// service's own.
func CriticalPath(steps []Step, service string) []api.PathStep {
	byID := make(map[string]*Step, len(steps))
	var last *Step
	for i := range steps {
		s := &steps[i]
		byID[s.ID] = s
		own := s.For == service || s.For == "" && s.Service == service
		if own && (last == nil || s.Ended.After(last.Ended)) {
			last = s
		}
	}
	var chain []*Step
	for s := last; s != nil && len(chain) <= len(steps); {
		chain = append(chain, s)
		var before *Step
		for _, id := range s.After {
			if b := byID[id]; b != nil && (before == nil || b.Ended.After(before.Ended)) {
				before = b
			}
		}
		s = before
	}
	slices.Reverse(chain)
	var path []api.PathStep
	for _, s := range chain {
		took := s.Ended.Sub(s.Began)
		if took < time.Millisecond && s.Service != service {
			continue
		}
		text := what(s.Op)
		if s.Failed {
			text += ", which failed"
		}
		path = append(path, api.PathStep{What: text, After: s.Began.Sub(chain[0].Began), Took: took})
	}
	return path
}

// what names an operation for people.
func what(op plan.Op) string {
	if op.Kind == plan.AwaitCondition {
		return "wait for " + op.Service + " to be " + op.Condition.Word()
	}
	if op.Kind == plan.AwaitHealthy {
		return "wait for " + op.Service + " to be running and healthy"
	}
	return string(op.Kind) + " " + op.Subject()
}

// Doing names an operation that is going on.
func Doing(op plan.Op) string { return what(op) }
