package engine

import (
	"tutti/scheduler/plan"
	"tutti/volumes"
)

// Observed is a container as the planner sees it.
func (e *Engine) Observed(u *Unit) plan.Container {
	st, c := u.Snapshot(), u.Now()
	o := plan.Container{
		ID: c.ID, Name: c.Name, Service: c.Service, Number: c.Number, OneOff: c.OneOff, Hook: c.PreStart, ConfigHash: c.Hash, Config: c.Canonical, ImageID: c.ImageID,
		Status: plan.Status(st.Status), ExitCode: st.ExitCode, Health: plan.Health(st.HealthStatus()), DependsOn: e.dependencies(c),
		Created: c.Created, Finished: st.Finished, Seq: st.Seq, Again: st.Again,
	}
	for _, n := range c.Networks {
		o.Networks = append(o.Networks, n.Network)
	}
	for _, m := range c.Mounts {
		if m.Type == volumes.TypeVolume && !m.Anonymous && !m.Inherited {
			o.Volumes = append(o.Volumes, m.Source)
		}
	}
	return o
}
