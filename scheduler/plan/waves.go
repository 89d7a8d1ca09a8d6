package plan

// Waves tells of a plan, while it is walked, for which containers what they need of the networks can be brought about, so
// that it is for all of them together: the first time for nearly all that the plan starts, later for those in whose way
// something of the plan was. Not for concurrent use.
type Waves struct {
	ops      []Op
	over     map[string]bool
	told     map[string]bool // ids of containers that have been told to end
	removals int
}

// NewWaves returns the waves of a plan of which nothing has been done.
func NewWaves(p *Plan) *Waves {
	w := &Waves{ops: p.Ops, over: map[string]bool{}, told: map[string]bool{}}
	for _, op := range p.Ops {
		if op.Kind.removes() {
			w.removals++
		}
	}
	return w
}

// removes tells whether operations of this kind take something of the networks away.
func (k Kind) removes() bool { return k == StopContainer || k == RemoveContainer || k == RemoveNetwork }

// Over notes that an operation has been done.
func (w *Waves) Over(op Op) {
	if !w.over[op.ID] && op.Kind.removes() {
		w.removals--
	}
	w.over[op.ID] = true
}

// Removing tells whether the plan is still to take something away.
func (w *Waves) Removing() bool { return w.removals > 0 }

// Starts are the containers to be started that are not in the way of themselves: nothing of the plan is still to stop or
// to remove one of their names.
func (w *Waves) Starts() []Op {
	busy := map[string]bool{}
	for _, op := range w.ops {
		if !w.over[op.ID] && (op.Kind == StopContainer || op.Kind == RemoveContainer) {
			busy[op.Container] = true
		}
	}
	var starts []Op
	for _, op := range w.ops {
		if op.Kind == StartContainer && !w.over[op.ID] && !busy[op.Container] {
			starts = append(starts, op)
		}
	}
	return starts
}

// Told notes that a container has been told to end.
func (w *Waves) Told(containerID string) { w.told[containerID] = true }

// Ending are the containers on their way out, which the plan is still to remove: the removals. Their ports are free for others.
func (w *Waves) Ending() []Op {
	runs := map[string]bool{}
	for _, op := range w.ops {
		if op.Kind == StopContainer && !w.over[op.ID] && !w.told[op.ContainerID] {
			runs[op.ContainerID] = true
		}
	}
	var ending []Op
	for _, op := range w.ops {
		if op.Kind == RemoveContainer && !w.over[op.ID] && !runs[op.ContainerID] {
			ending = append(ending, op)
		}
	}
	return ending
}

// Started is the operation that starts the container of a name, if the plan is still to do so.
func (w *Waves) Started(container string) (start Op, ok bool) {
	for _, op := range w.ops {
		if op.Kind == StartContainer && !w.over[op.ID] && op.Container == container {
			return op, true
		}
	}
	return Op{}, false
}

// Changes tells whether a network is still to be made or removed by the plan.
func (w *Waves) Changes(network string) bool {
	for _, op := range w.ops {
		if !w.over[op.ID] && (op.Kind == CreateNetwork || op.Kind == RemoveNetwork) && op.Resource == network {
			return true
		}
	}
	return false
}

// Late are the containers whose start comes after that of another, or after a wait: by their names.
func (p *Plan) Late() map[string]bool {
	late, waits := map[string]bool{}, map[string]bool{}
	for _, op := range p.Ops { // each comes after those that it names
		for _, id := range op.After {
			if waits[id] {
				waits[op.ID] = true
				if op.Kind == StartContainer {
					late[op.Container] = true
				}
			}
		}
		if op.Kind == StartContainer || op.Kind == PreStart || op.Kind.Waits() {
			waits[op.ID] = true
		}
	}
	return late
}

// Outlive are the ids of containers that the plan ends, and whose addresses and ports those have that it starts in their
// place, or themselves again. On a network that is removed there is nothing to keep.
func (p *Plan) Outlive(on func(containerID string) (networks []string)) []string {
	again, removed := map[string]bool{}, map[string]bool{}
	for _, name := range p.StartedAnew() {
		again[name] = true
	}
	for _, op := range p.Ops {
		if op.Kind == RemoveNetwork {
			removed[op.Resource] = true
		}
	}
	seen := map[string]bool{}
	var ids []string
	for _, op := range p.Ops {
		if op.Kind != StopContainer && op.Kind != RemoveContainer || !again[op.Container] || seen[op.ContainerID] {
			continue
		}
		seen[op.ContainerID] = true
		gone := false
		for _, n := range on(op.ContainerID) {
			gone = gone || removed[n]
		}
		if !gone {
			ids = append(ids, op.ContainerID)
		}
	}
	return ids
}

// Stages splits a plan so that what may fail for reasons from outside comes first: an image that cannot be had must not
// leave half of a project behind, so nothing else is begun before all images are there; and then the networks, without
// those that can only be made when something else is gone.
func (p *Plan) Stages() (images, networks, rest *Plan) {
	images = &Plan{Project: p.Project, Notes: p.Notes}
	networks, rest = &Plan{Project: p.Project}, &Plan{Project: p.Project}
	early := map[string]bool{}
	without := func(op Op) Op {
		var after []string
		for _, id := range op.After {
			if !early[id] {
				after = append(after, id)
			}
		}
		op.After = after
		return op
	}
	for _, op := range p.Ops {
		if op.Kind == PullImage || op.Kind == BuildImage {
			early[op.ID] = true
			images.Ops = append(images.Ops, op)
		}
	}
	for _, op := range p.Ops {
		if op.Kind == CreateNetwork && len(without(op).After) == 0 {
			networks.Ops = append(networks.Ops, without(op))
		}
	}
	for _, op := range networks.Ops {
		early[op.ID] = true
	}
	for _, op := range p.Ops {
		if !early[op.ID] {
			rest.Ops = append(rest.Ops, without(op))
		}
	}
	return images, networks, rest
}
