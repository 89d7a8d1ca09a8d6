package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"time"

	"tutti/netdriver"
	"tutti/runtime"
	"tutti/runtime/logs"
	"tutti/runtime/statefile"
	"tutti/scheduler/container"
	"tutti/scheduler/names"
	"tutti/scheduler/plan"
)

// adopt makes the engine's picture match what an earlier engine left: containers that run are supervised again, the end
// of those that ended meanwhile is recorded, what was half made is removed.
func (e *Engine) adopt(ctx context.Context) error {
	e.loadNetworks()
	outputs, err := e.loadUnits()
	if err != nil {
		return err
	}
	var alive []*Unit
	processes := map[string]*runtime.Container{}
	known := make([]string, 0, len(e.units))
	for id, u := range e.units {
		p, err := e.runtime.Load(id)
		switch {
		case errors.Is(err, runtime.ErrNoContainer):
			continue
		case err != nil: // what runs of it is an orphan then, and its end was not seen
			e.Log.Error("load the container's process", "container", u.Name(), "error", err)
			continue
		case !u.state.Alive(): // the engine died between making the process and recording it
			if err := p.Delete(ctx); err != nil {
				e.Log.Error("remove a half-made process", "container", u.Name(), "error", err)
			}
			continue
		}
		if outputs[id], err = e.recoverOutput(u, p, outputs[id]); err != nil {
			e.Log.Error("find the container's output", "container", u.Name(), "error", err)
		}
		alive = append(alive, u)
		processes[id] = p
		known = append(known, id)
	}
	ends := map[string]runtime.ExitStatus{}
	for id, u := range e.units {
		if processes[id] != nil || !u.state.Alive() {
			continue
		}
		if status, ok := e.keptExit(ctx, id); ok {
			ends[id] = status
		}
	}
	if err := e.runtime.RemoveOrphans(ctx, known); err != nil {
		e.Log.Error("remove orphaned processes", "error", err)
	}
	if err := e.restoreNetwork(ctx, alive, processes); err != nil {
		e.Log.Error("restore the networks", "error", err) // what could be restored is
	}
	e.finishChanges(ctx, alive, processes)
	if err := e.Builder.RemoveNetwork(ctx); err != nil {
		return fmt.Errorf("remove the network of an interrupted build: %w", err)
	}
	e.knowNames(alive)
	for _, u := range alive {
		if err := e.resume(u, processes[u.ID], outputs[u.ID]); err != nil {
			e.Log.Error("take over the container", "container", u.Name(), "error", err)
		}
	}
	for id, status := range ends { // before the others are taken for lost
		e.reaper.retain(id)
		e.recordEnd(e.units[id], status, 0, nil, nil)
	}
	e.releaseUnclaimed(processes)
	if err := e.removeUnclaimedFiles(processes); err != nil {
		e.Log.Error("remove the files of runs that are over", "error", err)
	}
	return e.recover(func(id string) bool {
		_, recorded := ends[id]
		return processes[id] != nil || recorded
	})
}

// knowNames tells the resolver of the containers that run. All names are known before anybody is answered: a lookup that
// waited for this engine must not be told otherwise.
func (e *Engine) knowNames(alive []*Unit) {
	entries := map[string]names.Entry{}
	for _, u := range alive {
		if u.Config.OwnNetwork() {
			entries[u.ID] = e.nameEntry(u.Now(), u.Snapshot().Endpoints)
		}
	}
	e.names.SetAll(entries)
}

// sweep removes what an engine that was killed while it wrote has left in a folder. The image store's lock is held: nobody
// else writes.
func (e *Engine) sweep(dir string) {
	if err := statefile.Sweep(dir); err != nil {
		e.Log.Error("sweep a state folder", "folder", dir, "error", err)
	}
}

// loadUnits reads the containers' records. A folder without one was being created or removed: it is discarded.
func (e *Engine) loadUnits() (outputs map[string]output, err error) {
	outputs = map[string]output{}
	l, err := os.ReadDir(e.Paths.Containers())
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{e.Paths.Root, e.Paths.Projects(), e.Paths.Histories()} {
		e.sweep(dir)
	}
	for _, d := range l {
		dir := e.Paths.Container(d.Name())
		e.sweep(dir)
		rec, damage, err := readRecord(dir)
		if err != nil {
			if damage != nil { // nobody knows what it was: nothing can be done with it
				e.Log.Error("remove a container whose record is damaged", "folder", dir, "error", errors.Join(damage, err))
			}
			if err := e.discard(dir); err != nil {
				return nil, err
			}
			continue
		}
		if damage != nil {
			e.Log.Error("the container's record is damaged, an earlier one serves", "container", rec.Name, "error", damage)
		}
		pipes, console, err := e.takeOutput(rec)
		if err != nil {
			e.Log.Error("take over the output of the container", "container", rec.Name, "error", err)
		}
		u, err := newUnit(dir, rec, pipes)
		if err != nil {
			return nil, fmt.Errorf("open the log of container %s: %w", rec.Name, err)
		}
		u.syncer, u.back = e.syncer, make(chan struct{})
		e.units[rec.ID] = u
		e.starts.Store(max(e.starts.Load(), rec.State.Seq))
		outputs[rec.ID] = output{pipes, console}
	}
	return outputs, nil
}

// output is where the output of a container comes from that an earlier engine started.
type output struct {
	pipes   *logs.Pipes
	console *os.File
}

// takeOutput finds what the keeper holds of a container's output; a container that did not run has none.
func (e *Engine) takeOutput(rec container.Record) (pipes *logs.Pipes, console *os.File, err error) {
	if !rec.State.Alive() {
		return nil, nil, nil
	}
	held, err := e.keeper.Take(rec.ID)
	if err != nil || len(held) == 0 {
		return nil, nil, err // the host was rebooted
	}
	if c := held["console"]; c != nil {
		return nil, c, nil
	}
	pipes, err = logs.FromFiles(held)
	return pipes, nil, err
}

// restoreNetwork tells the driver which endpoints and ports are in use; it removes all others.
func (e *Engine) restoreNetwork(ctx context.Context, alive []*Unit, processes map[string]*runtime.Container) error {
	e.rememberAddresses(alive)
	endpoints := map[string][]netdriver.Endpoint{}
	ports := map[string][]netdriver.PortBinding{}
	for _, u := range alive {
		for _, p := range u.state.Endpoints {
			if _, on := u.Now().On(p.Network); on || !u.state.Changing {
				p.Namespace = processes[u.ID].NetNS()
				endpoints[u.ID] = append(endpoints[u.ID], p.Endpoint)
			}
		}
		if len(u.state.Bindings) > 0 { // a container without a network has none
			ports[u.ID] = u.state.Bindings
		}
	}
	return e.NetDriver.Restore(ctx, endpoints, ports)
}

// resume supervises a container that an earlier engine started: its output, its names, its health, its end.
func (e *Engine) resume(u *Unit, p *runtime.Container, out output) error {
	p.Console = out.console
	if err := resumePaused(u, p); err != nil {
		return fmt.Errorf("record whether it is paused: %w", err)
	}
	if u.Config.OwnNetwork() && p.State().Status != runtime.StatusStopped {
		udp, tcp, err := e.takeDNS(e.ctx, &u.Config, p.NetNS())
		if err == nil {
			err = e.dns.Serve(u.ID, udp, tcp)
		}
		if err != nil {
			e.Log.Error("take over the resolver", "container", u.Name(), "error", err)
		}
	}
	if u.Snapshot().Health == nil && u.Config.Health != nil {
		h := u.Config.Health.Begin()
		u.note(func(s *container.State) { s.Health = &h }) // others that are taken over already may look at it
	}
	in, err := e.takeInput(u)
	if err != nil {
		return fmt.Errorf("take over the standard input: %w", err)
	}
	u.beginLife(p, in)
	e.watch(u, p, out.pipes)
	if s := u.Snapshot(); s.Ending != "" { // the engine before this one was about to
		e.endSoon(u, s.Seq, s.Ending, s.Why)
	}
	return nil
}

// releaseUnclaimed lets go of what the keeper holds for containers that are no more.
func (e *Engine) releaseUnclaimed(processes map[string]*runtime.Container) {
	for _, id := range e.keeper.Held() {
		owner := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(id, dnsHolder("")), netdriver.SocketsID("")), stdinHolder(""))
		if processes[owner] != nil || id == netdriver.RelayID && len(processes) > 0 {
			continue
		}
		if err := e.reaper.Release(id); err != nil {
			e.Log.Error("release what the keeper held", "id", id, "error", err)
		}
	}
}

// removeUnclaimedFiles removes the files of runs that are over.
func (e *Engine) removeUnclaimedFiles(processes map[string]*runtime.Container) error {
	l, err := os.ReadDir(e.Paths.Files())
	for _, d := range l {
		if processes[d.Name()] == nil {
			err = errors.Join(err, os.RemoveAll(e.filesDir(d.Name())))
		}
	}
	return err
}

// bootID tells one boot of the host from another, random(4).
const bootID = "/proc/sys/kernel/random/boot_id"

// rebooted says whether the host was booted since the last engine worked here.
func (e *Engine) rebooted() (bool, error) {
	now, err := os.ReadFile(bootID)
	if err != nil {
		return false, err
	}
	file := e.Paths.BootID()
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if bytes.Equal(now, before) {
		return false, nil
	}
	err = os.WriteFile(file, now, 0o600)
	if diskTrouble(err) {
		e.Log.Error("remember the boot", "error", err) // the next engine takes this boot for new: a restart policy counts anew
		err = nil
	}
	return before != nil, err
}

// recover records that containers whose processes are gone have ended (the host went down, or their keeper did) and starts
// those again whose policy says so, in the order of their dependencies. An engine comes and goes: that alone starts nothing.
// Those that are cared for already, because they run or their end is known, may have been started again meanwhile.
func (e *Engine) recover(caredFor func(id string) bool) error {
	booted, err := e.rebooted()
	if err != nil {
		return fmt.Errorf("tell whether the host was rebooted: %w", err)
	}
	waiting, byPolicy := map[string]bool{}, map[string]bool{}
	for id, u := range e.units {
		if caredFor(id) {
			continue
		}
		before, policy := u.Snapshot(), u.Now().Restart
		if u.Config.AutoRemove {
			e.removeLater(u)
		}
		switch {
		case before.Alive(): // lost
			byPolicy[id] = policy.AtBoot(before.Stopped, codeUnseen, before.Restarts)
			if err := u.lost(); err != nil {
				return err
			}
		case booted && !before.Started.IsZero() && (isRestarting(before) || policy.AtBoot(before.Stopped, before.ExitCode, before.Restarts)):
			byPolicy[id] = true
		case isRestarting(before):
			waiting[id] = true
		}
	}
	starts := e.bootOrder(byPolicy)
	for id := range starts {
		if err := e.units[id].atBoot(); err != nil {
			return err
		}
	}
	// Only now that each is as it will be may they look at one another.
	for id := range starts {
		e.restartAfter(e.units[id], 0, byCommand)
	}
	for id := range waiting {
		s := e.units[id].Snapshot()
		e.restartAfter(e.units[id], s.RestartIn(), causeOf(s.Ending))
	}
	return nil
}

// lost records the end of a run that nobody saw.
func (u *Unit) lost() error {
	_, err := u.update(func(s *container.State) {
		s.Status, s.ExitCode, s.Lost, s.Finished = container.Exited, codeUnseen, true, time.Now().UTC()
		s.Pid, s.Health, s.Bindings = 0, nil, nil
	})
	return err
}

// atBoot makes a container wait for its start as if somebody had just asked for it: back-off and retries begin anew.
func (u *Unit) atBoot() error {
	_, err := u.update(func(s *container.State) {
		s.Stopped, s.Ending, s.Why = false, "", ""
		s.RestartLater(0)
	})
	return err
}

// bootOrder adds to what is started by policy the jobs that it waits for. The order itself comes of everybody's waiting.
func (e *Engine) bootOrder(byPolicy map[string]bool) map[string]bool {
	projects := map[string][]plan.Container{}
	for id, u := range e.units {
		if !u.Config.OneOff || byPolicy[id] {
			projects[u.Config.Project] = append(projects[u.Config.Project], e.Observed(u))
		}
	}
	starts := map[string]bool{}
	for _, all := range projects {
		maps.Copy(starts, plan.Boot(all, byPolicy))
	}
	return starts
}
