package engine

import (
	"context"
	"maps"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/events"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/journal"
	"tutti/scheduler/supervise"
	"tutti/volumes"
)

// Events hands what has happened and what happens to emit, in docker's form and with docker's filters, until o.Until has
// passed or ctx is done. ready is called once nothing that happens from then on can be missed.
func (e *Engine) Events(ctx context.Context, o journal.Options, f journal.Filter, ready func(), emit func(events.Message) error) error {
	return e.journal.Read(ctx, o, ready, func(m events.Message) error {
		if !f.Match(m) {
			return nil
		}
		return emit(m)
	})
}

// note keeps an event. A disk that cannot take it is reported once, and not again before it has taken one.
func (e *Engine) note(m events.Message) {
	err := e.journal.Append(m)
	if failed := err != nil; e.journalFails.Swap(failed) != failed && failed {
		e.Log.Error("keep an event: `events --since` will miss it", "error", err)
	}
}

// Publish keeps an event about a container. more are further attributes, name and value by turns.
func (e *Engine) Publish(u *Unit, action events.Action, more ...string) {
	a := make(map[string]string, len(u.Config.Labels)+2+len(more)/2)
	maps.Copy(a, u.Config.Labels)
	a["image"], a["name"] = u.Config.Image, u.Name()
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	e.note(events.Message{Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: u.ID, Attributes: a}})
}

// networkEvent keeps an event about a network, and the container that it concerns, if any.
func (e *Engine) networkEvent(n netdriver.Network, action events.Action, containerID string) {
	a := map[string]string{"name": n.Name, "type": n.Driver}
	if containerID != "" {
		a["container"] = containerID
	}
	e.note(events.Message{Type: events.NetworkEventType, Action: action, Actor: events.Actor{ID: n.ID, Attributes: a}})
}

// volumeEvent keeps an event about a volume. more are further attributes, name and value by turns.
func (e *Engine) volumeEvent(name, driver string, action events.Action, more ...string) {
	a := map[string]string{"driver": driver}
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	e.note(events.Message{Type: events.VolumeEventType, Action: action, Actor: events.Actor{ID: name, Attributes: a}})
}

// noteChange keeps what a change of a container is in docker's events. Probes of health checks are not among them, unlike
// docker's: they would soon be all that the journal holds.
func (e *Engine) noteChange(c change) {
	s := c.unit.Snapshot()
	switch c.kind {
	case changeCreated:
		e.Publish(c.unit, events.ActionCreate)
	case changeStarted:
		e.noteMounts(c.unit, events.ActionMount)
		e.noteEndpoints(c.unit, s, events.ActionConnect)
		e.Publish(c.unit, events.ActionStart)
	case changeExited:
		if s.OOM != nil {
			e.Publish(c.unit, events.ActionOOM)
		}
		e.noteEndpoints(c.unit, s, events.ActionDisconnect)
		e.noteMounts(c.unit, events.ActionUnmount)
		ran := int(s.Finished.Sub(s.Started).Seconds())
		e.Publish(c.unit, events.ActionDie, "exitCode", strconv.Itoa(c.code), "execDuration", strconv.Itoa(max(ran, 0)))
	case changeHealth:
		if c.health != supervise.Starting {
			e.Publish(c.unit, events.ActionHealthStatus+events.Action(": "+c.health))
		}
	case changeRemoved:
		e.Publish(c.unit, events.ActionDestroy)
	case changeRenamed:
		e.Publish(c.unit, events.ActionRename, "oldName", "/"+c.was)
	case changeHook: // what it prints is no event
	}
}

func (e *Engine) noteEndpoints(u *Unit, s container.State, action events.Action) {
	for _, p := range s.Endpoints {
		if n, err := e.NetworkByName(p.Network); err == nil {
			e.networkEvent(n, action, u.ID)
		}
	}
}

func (e *Engine) noteMounts(u *Unit, action events.Action) {
	for _, m := range u.Config.Mounts {
		if m.Type != volumes.TypeVolume {
			continue
		}
		more := []string{"container", u.ID}
		if action == events.ActionMount {
			more = append(more, "destination", m.Target, "propagation", "", "read/write", strconv.FormatBool(!m.ReadOnly))
		}
		e.volumeEvent(m.Source, volumes.DriverLocal, action, more...)
	}
}

// execEvent keeps an event about a process in a container. docker appends the command line to the first two actions.
func (e *Engine) execEvent(x *Exec, action events.Action, more ...string) {
	if action != events.ActionExecDie {
		action += events.Action(": " + strings.Join(x.Config.Args, " "))
	}
	e.Publish(x.unit, action, append([]string{"execID", x.ID}, more...)...)
}

// MakeVolume makes a volume, or returns the one of that name.
func (e *Engine) MakeVolume(s volumes.Spec) (volumes.Volume, error) {
	v, made, err := e.VolumeStore.Create(s)
	if err == nil && made {
		e.volumeEvent(v.Name, v.Driver, events.ActionCreate)
	}
	return v, err
}

// DropVolume removes a volume.
func (e *Engine) DropVolume(name string) error {
	v, err := e.VolumeStore.Get(name)
	if err != nil {
		v.Driver = volumes.DriverLocal
	}
	if err := e.VolumeStore.Remove(name); err != nil {
		return err
	}
	e.volumeEvent(name, v.Driver, events.ActionDestroy)
	return nil
}
