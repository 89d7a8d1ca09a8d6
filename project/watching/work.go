package watching

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
)

// Copy is a file of the host and where it is to be in a container. A file that is not there is to be removed.
type Copy struct {
	Host, Container string
	// Gone: it had been removed for a moment, so that it may have become a folder, or the other way round.
	Gone bool
}

// Exec is a command to be run in every container of a service.
type Exec struct {
	Command, Environment []string
	User, WorkingDir     string
	Privileged           bool
}

// Work is what has to be done for one service, in this order.
type Work struct {
	Rebuild bool
	Copies  map[string]Copy // by path in the container
	Restart bool
	Execs   map[string]Exec // by trigger
}

// Work finds out what has to be done when paths have changed; the value says whether a path was removed for a moment at least.
func (s *Set) Work(changed map[string]bool) map[string]*Work {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*Work{}
	for _, host := range slices.Sorted(maps.Keys(changed)) {
		for i, r := range s.rules {
			if r.wants(host) {
				work := all[r.service]
				if work == nil {
					work = &Work{Copies: map[string]Copy{}, Execs: map[string]Exec{}}
					all[r.service] = work
				}
				r.order(work, i, host, changed[host])
			}
		}
	}
	return all
}

// order adds what a rule wants for a path.
func (r *rule) order(work *Work, index int, host string, gone bool) {
	switch r.Action {
	case types.WatchActionRebuild:
		work.Rebuild = true
	case types.WatchActionRestart:
		work.Restart = true
	case types.WatchActionSyncRestart:
		work.Restart = true
	case types.WatchActionSyncExec:
		work.Execs[fmt.Sprintf("%06d", index)] = r.exec()
	case types.WatchActionSync:
	}
	if r.syncs() {
		to := r.inside(host)
		work.Copies[to] = Copy{Host: host, Container: to, Gone: gone || work.Copies[to].Gone}
	}
}

// inside is where a file of the host is to be in a container.
func (r *rule) inside(host string) string {
	rel, _ := below(r.Path, host)
	return path.Join("/", r.Target, rel)
}

func (r *rule) exec() Exec {
	e := Exec{Command: r.Exec.Command, User: r.Exec.User, WorkingDir: r.Exec.WorkingDir, Privileged: r.Exec.Privileged}
	for _, name := range slices.Sorted(maps.Keys(r.Exec.Environment)) {
		if value := r.Exec.Environment[name]; value != nil {
			e.Environment = append(e.Environment, name+"="+*value)
		}
	}
	return e
}

// Initial is a folder or file that is copied when the watch begins.
type Initial struct{ Service, Path string }

// Initial lists what is copied when the watch begins.
func (s *Set) Initial() []Initial {
	var list []Initial
	for _, r := range s.rules {
		if r.syncs() && r.InitialSync {
			list = append(list, Initial{r.service, r.Path})
		}
	}
	return list
}

// InitialCopies are the copies of paths of one Initial, without what else its rule does.
func (s *Set) InitialCopies(of Initial, paths []string) map[string]Copy {
	s.mu.Lock()
	defer s.mu.Unlock()
	copies := map[string]Copy{}
	for _, r := range s.rules {
		if !r.InitialSync || r.service != of.Service || r.Path != of.Path {
			continue
		}
		for _, host := range paths {
			if r.wants(host) {
				to := r.inside(host)
				copies[to] = Copy{Host: host, Container: to}
			}
		}
	}
	return copies
}

// Merge adds what has to be done, too.
func (w *Work) Merge(more *Work) {
	w.Rebuild = w.Rebuild || more.Rebuild
	w.Restart = w.Restart || more.Restart
	for to, c := range more.Copies {
		c.Gone = c.Gone || w.Copies[to].Gone
		w.Copies[to] = c
	}
	maps.Copy(w.Execs, more.Execs)
}

// Queue holds work until its service is free: what comes for a service that is being worked on is done afterwards, all at once.
type Queue struct {
	pending map[string]*Work
	busy    map[string]bool
}

// NewQueue returns an empty queue.
func NewQueue() *Queue { return &Queue{pending: map[string]*Work{}, busy: map[string]bool{}} }

// Add puts work into the queue, which keeps it.
func (q *Queue) Add(work map[string]*Work) {
	for service, w := range work {
		if waiting := q.pending[service]; waiting != nil {
			waiting.Merge(w)
		} else {
			q.pending[service] = w
		}
	}
}

// Next takes work out of the queue that can begin now, or nil: all services that are to be rebuilt together, or one other. They
// are busy until Done.
func (q *Queue) Next() map[string]*Work {
	task := map[string]*Work{}
	for _, service := range slices.Sorted(maps.Keys(q.pending)) {
		if w := q.pending[service]; w.Rebuild && !q.busy[service] {
			task[service] = w
		}
	}
	for _, service := range slices.Sorted(maps.Keys(q.pending)) {
		if len(task) == 0 && !q.busy[service] {
			task[service] = q.pending[service]
		}
	}
	if len(task) == 0 {
		return nil
	}
	for service := range task {
		delete(q.pending, service)
		q.busy[service] = true
	}
	return task
}

// Done makes the services of a task free again.
func (q *Queue) Done(task map[string]*Work) {
	for service := range task {
		delete(q.busy, service)
	}
}

// Busy tells whether a service is being worked on, or with "" whether any is.
func (q *Queue) Busy(service string) bool {
	if service == "" {
		return len(q.busy) > 0
	}
	return q.busy[service]
}

// Idle tells whether there is nothing to do and nothing being done.
func (q *Queue) Idle() bool { return len(q.busy) == 0 && len(q.pending) == 0 }

// Retain drops work for services that are not among those named.
func (q *Queue) Retain(services []string) {
	maps.DeleteFunc(q.pending, func(service string, _ *Work) bool { return !slices.Contains(services, service) })
}
