package plan

import (
	"maps"

	"tutti/project"
)

// Undetermined stands in State.Images for the id of an image that is known only when it has been pulled or built.
const Undetermined = "undetermined"

// Foresight is what can be known of an `up` before it is done.
type Foresight struct {
	// Sure is what is done when every image that is pulled or built turns out to be the one that is there already.
	Sure *Plan
	// Perhaps is what is done when each of them turns out to be another one. It is Sure where no container depends on that.
	Perhaps *Plan
}

// Foresee plans what `up` has to do as Diff does, and looks beyond the images that have to be pulled or built first: which
// containers have to be replaced then nobody can know, but which may have to be is known.
func Foresee(p *project.Project, s State, o Options) (Foresight, error) {
	first, err := Diff(p, s, o)
	if err != nil || !first.Replan {
		return Foresight{Sure: first, Perhaps: first}, err
	}
	o.ImagesFresh = true
	same, err := Diff(p, s, o)
	if err != nil {
		return Foresight{}, err
	}
	s.Images = maps.Clone(s.Images)
	if s.Images == nil {
		s.Images = map[string]string{}
	}
	for _, op := range first.Ops {
		s.Images[op.Resource] = Undetermined
	}
	other, err := Diff(p, s, o)
	if err != nil {
		return Foresight{}, err
	}
	return Foresight{Sure: first.then(same), Perhaps: first.then(other)}, nil
}

// then is the plan that does both. What is in both of them is done once.
func (p *Plan) then(next *Plan) *Plan {
	b := newBuilder()
	for _, one := range []*Plan{p, next} {
		for _, op := range one.Ops {
			b.add(op, op.After...)
		}
		for _, note := range one.Notes {
			b.note(note)
		}
	}
	both := b.plan(p.Project)
	both.Replan = p.Replan
	return both
}

// Rounds are the operations of a plan by when they can begin, waits included: those of a round wait for one of the round
// before at least. Images come first, as they do when the plan is carried out, and then the networks that nothing is in the
// way of (see Stages).
func (p *Plan) Rounds() [][]Op {
	images, networks, rest := p.Stages()
	var rounds [][]Op
	for _, stage := range []*Plan{images, networks, rest} {
		first := len(rounds)
		round := make(map[string]int, len(stage.Ops))
		for _, op := range stage.Ops { // each comes after those that it names
			at := first
			for _, id := range op.After {
				at = max(at, round[id]+1)
			}
			round[op.ID] = at
			if at == len(rounds) {
				rounds = append(rounds, nil)
			}
			rounds[at] = append(rounds[at], op)
		}
	}
	return rounds
}
