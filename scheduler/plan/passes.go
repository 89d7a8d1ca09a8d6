package plan

// Pass makes starts wait until other containers have ended, whose ports or addresses they take over: by the name of the
// container to be started, the ids of those that have them. An end waits for no start, so that two may even exchange theirs.
func (p *Plan) Pass(owners map[string][]string) *Plan {
	b := newBuilder()
	b.ops = append(b.ops, p.Ops...)
	ends := map[string][]string{} // by container id
	for i, op := range b.ops {
		b.index[op.ID] = i
		if op.Kind == StopContainer || op.Kind == RemoveContainer {
			ends[op.ContainerID] = append(ends[op.ContainerID], op.ID)
		}
	}
	for i, op := range b.ops {
		b.ops[i].After = append([]string(nil), op.After...)
		if op.Kind != StartContainer {
			continue
		}
		for _, owner := range owners[op.Container] {
			b.after(op.ID, ends[owner]...)
		}
	}
	sorted := b.plan(p.Project)
	sorted.Notes, sorted.Replan = p.Notes, p.Replan
	return sorted
}
