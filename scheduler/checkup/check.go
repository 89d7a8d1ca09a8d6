// Package checkup runs what compares the engine's state with itself and with the kernel, and repairs what it finds. What
// there is to compare is the engine's to know; here is how findings are gathered, confirmed, repaired and told, and how
// databases are looked at that no engine can open.
package checkup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tutti/scheduler/api"
)

// Fault is something that is not as it should be.
type Fault struct {
	Area, Object, Problem, Remedy, Hint string
	// Repair does what Remedy says. Nil: nothing can be done, or only by people.
	Repair func(context.Context) error
	// Fleeting is set for what is seen for a moment, too, while something is being made or removed: it counts if it is still
	// there a little later.
	Fleeting bool
}

func (f Fault) key() string { return f.Area + "\x00" + f.Object + "\x00" + f.Problem }

// Area is one part of the state.
type Area struct {
	Name string
	// Look finds faults and says how many things it has looked at. It changes nothing.
	Look func(context.Context) (faults []Fault, looked int, err error)
}

// settle is how long what is fleeting has to stay.
const settle = 500 * time.Millisecond

// maxRounds bounds how often an area is looked at again after a repair: what one repair uncovers, the next one mends.
const maxRounds = 4

// Run looks at all areas, and with repair mends what it can. An area that cannot be looked at is a finding, too.
func Run(ctx context.Context, areas []Area, repair bool) (api.CheckReport, error) {
	r := api.CheckReport{Checked: map[string]int{}, Findings: []api.Finding{}}
	for _, a := range areas {
		findings, looked, err := a.run(ctx, repair)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			findings = append(findings, api.Finding{Area: a.Name, Object: a.Name, Problem: "cannot be checked: " + err.Error(), State: api.FindingOpen})
		}
		r.Checked[a.Name] = looked
		r.Findings = append(r.Findings, findings...)
	}
	return r, nil
}

func (a Area) run(ctx context.Context, repair bool) ([]api.Finding, int, error) {
	var done []api.Finding
	for round := 0; ; round++ {
		faults, looked, err := a.confirmed(ctx)
		if err != nil || len(faults) == 0 {
			return done, looked, err
		}
		mended := false
		var open []api.Finding
		for _, f := range faults {
			finding := api.Finding{Area: a.Name, Object: f.Object, Problem: f.Problem, Remedy: f.Remedy, Hint: f.Hint, State: api.FindingOpen}
			if repair && f.Repair != nil && round < maxRounds {
				finding.State = api.FindingRepaired
				if err := f.Repair(ctx); err != nil {
					finding.State, finding.Error = api.FindingFailed, err.Error()
				}
			}
			if finding.State == api.FindingRepaired {
				mended = true
				done = append(done, finding)
				continue
			}
			open = append(open, finding)
		}
		if !mended {
			return append(done, open...), looked, nil
		}
	}
}

// confirmed are the faults that are there, sorted; what is fleeting is looked at twice.
func (a Area) confirmed(ctx context.Context) ([]Fault, int, error) {
	faults, looked, err := a.Look(ctx)
	if err != nil {
		return nil, looked, err
	}
	if slices.ContainsFunc(faults, func(f Fault) bool { return f.Fleeting }) {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return nil, looked, ctx.Err()
		}
		again, _, err := a.Look(ctx)
		if err != nil {
			return nil, looked, err
		}
		still := map[string]bool{}
		for _, f := range again {
			still[f.key()] = true
		}
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return f.Fleeting && !still[f.key()] })
	}
	slices.SortFunc(faults, func(x, y Fault) int {
		return cmp.Or(cmp.Compare(x.Object, y.Object), cmp.Compare(x.Problem, y.Problem))
	})
	return faults, looked, nil
}

// Text is a finding as people read it.
func Text(f api.Finding) string {
	text := fmt.Sprintf("%s: %s: %s", f.Area, f.Object, f.Problem)
	switch {
	case f.State == api.FindingRepaired:
		text += "\n    repaired: " + f.Remedy
	case f.State == api.FindingFailed:
		text += "\n    repair failed: " + f.Error
	case f.Remedy != "":
		text += "\n    --repair would " + f.Remedy
	}
	if f.Hint != "" {
		text += "\n    then: " + f.Hint
	}
	return text
}
