package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/moby/moby/api/types/events"

	"tutti/cmd/tutti/treewatch"
	"tutti/project"
	"tutti/project/watching"
	"tutti/scheduler/api"
)

// watchOptions say how a watch is carried out, and where what it says goes.
type watchOptions struct {
	services           []string // that were named; none: all
	quiet, prune, noUp bool
	parallel           int
	scale              map[string]int     // of up --scale
	say                func(text string)  // a line
	above              func(write func()) // writes without damage to what is drawn on the terminal
	busy               chan<- bool        // is told when the watch begins to change containers, and when it has ended; may be nil
}

// watchSession keeps containers as the files of this host are. Goroutines bring it changes, starts of containers and the ends of
// tasks; run takes one thing at a time.
//
//	changes ── what each service needs ── queue ── tasks, one a service: rebuild, copy, restart, exec
//	   └ of the compose files ── another model, applied when no task is under way
type watchSession struct {
	a *app
	c *api.Client
	o watchOptions

	p     *project.Project
	set   *watching.Set
	tree  *treewatch.Watcher
	queue *watching.Queue

	tasks   sync.WaitGroup
	ends    chan taskEnd
	starts  chan events.Message
	batches chan treewatch.Batch

	next     *project.Project          // is to be applied
	applying bool                      // it is being applied
	broken   bool                      // the compose files are not in order
	known    map[string]bool           // ids of the containers that have what was copied
	copied   map[string]*watching.Work // by service: what was copied since its image was built, and what else that needs
}

// taskEnd is a task that has ended.
type taskEnd struct {
	task    map[string]*watching.Work // nil: the model was applied
	rebuilt bool                      // from the files as they are
}

func newWatchSession(a *app, c *api.Client, p *project.Project, set *watching.Set, o watchOptions) *watchSession {
	return &watchSession{
		a: a, c: c, o: o, p: p, set: set, queue: watching.NewQueue(), ends: make(chan taskEnd), starts: make(chan events.Message),
		known: map[string]bool{}, copied: map[string]*watching.Work{}, batches: make(chan treewatch.Batch),
	}
}

// open begins to watch the files.
func (w *watchSession) open() (err error) {
	for _, text := range w.set.Warnings {
		w.warn(text)
	}
	w.tree, err = treewatch.New(selection(w.p, w.set))
	return err
}

func (w *watchSession) close() {
	w.tasks.Wait()
	_ = w.tree.Close() // nothing is lost by it
}

// selection is what a model and its sections want to be watched.
func selection(p *project.Project, set *watching.Set) treewatch.Selection {
	own := map[string]bool{}
	for _, f := range slices.Concat(p.Files(), set.Files()) {
		own[f] = true
	}
	return treewatch.Selection{
		Roots: slices.Concat(set.Roots(), slices.Sorted(maps.Keys(own))),
		Skips: set.Skips,
		Wants: func(path string) bool { return own[path] || set.Wants(path) },
	}
}

func (w *watchSession) warn(text string) { w.o.above(func() { w.a.warn(text) }) }

// run copies what is to be copied at first, and carries out what changes need until its context ends.
func (w *watchSession) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer w.tasks.Wait()
	defer cancel()
	if err := w.begin(ctx); err != nil {
		return err
	}
	failed := make(chan error, 2)
	helpers.Go(func() { failed <- w.tree.Run(ctx, w.batches) })
	if !w.a.dryRun {
		follow := eventWatch{client: w.c, project: w.p.Name, emit: func(m events.Message) error { return w.started(ctx, m) }}
		helpers.Go(func() { failed <- follow.run(ctx) })
	}
	w.o.say("Watch enabled")
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("watch disabled: %w", err)
			}
		case batch := <-w.batches:
			w.changed(ctx, batch)
		case m := <-w.starts:
			w.containerStarted(m)
		case end := <-w.ends:
			w.taskEnded(ctx, end)
		}
		w.dispatch(ctx)
	}
}

// begin carries out initial_sync, and learns which containers there are.
func (w *watchSession) begin(ctx context.Context) error {
	all, err := w.c.Containers(ctx, w.p.Name)
	if err != nil {
		return err
	}
	for _, c := range all {
		w.known[c.ID] = true
	}
	var errs []error
	for _, first := range w.set.Initial() {
		copies := w.set.InitialCopies(first, treewatch.Walk(first.Path, w.set.Skips))
		if len(copies) > 0 {
			t := watchTask{a: w.a, c: w.c, o: w.o, p: w.p}
			errs = append(errs, t.copy(ctx, first.Service, copies))
			w.remember(map[string]*watching.Work{first.Service: {Copies: copies, Execs: map[string]watching.Exec{}}})
		}
	}
	return errors.Join(errs...)
}

// manyChanges is from when on docker compose says that a batch is large.
const manyChanges = 1000

// changed takes a batch of changes.
func (w *watchSession) changed(ctx context.Context, batch treewatch.Batch) {
	if len(batch) > manyChanges {
		w.o.say("Large batch of file changes detected. If you just switched branches, this is expected.")
	}
	var own []string
	for _, f := range slices.Concat(w.p.Files(), w.set.Files()) {
		if _, is := batch[f]; is {
			own = append(own, f)
		}
	}
	if len(own) > 0 || w.broken {
		w.reload(ctx, own)
	}
	work := w.set.Work(batch)
	w.remember(work)
	w.queue.Add(work)
}

// remember keeps what was copied, for containers that come later.
func (w *watchSession) remember(work map[string]*watching.Work) {
	for service, new := range work {
		if len(new.Copies) == 0 {
			continue
		}
		kept := w.copied[service]
		if kept == nil {
			kept = &watching.Work{Copies: map[string]watching.Copy{}, Execs: map[string]watching.Exec{}}
			w.copied[service] = kept
		}
		again := *new
		again.Rebuild = false
		kept.Merge(&again)
	}
}

// started passes on that a container was started.
func (w *watchSession) started(ctx context.Context, m events.Message) error {
	if m.Action != events.ActionStart {
		return nil
	}
	select {
	case w.starts <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// containerStarted gives a container that somebody else has made what was copied into the one before.
func (w *watchSession) containerStarted(m events.Message) {
	service := m.Actor.Attributes[api.LabelService]
	if w.known[m.Actor.ID] || w.queue.Busy(service) || w.applying || m.Actor.Attributes[api.LabelOneOff] == "True" {
		return // a task's own doing is looked at when it ends
	}
	w.known[m.Actor.ID] = true
	w.repeat(service)
}

// repeat orders again what was copied.
func (w *watchSession) repeat(service string) {
	if kept := w.copied[service]; kept != nil {
		again := &watching.Work{Restart: kept.Restart, Copies: maps.Clone(kept.Copies), Execs: maps.Clone(kept.Execs)}
		w.queue.Add(map[string]*watching.Work{service: again})
	}
}

// dispatch begins what can begin.
func (w *watchSession) dispatch(ctx context.Context) {
	switch {
	case w.applying:
		return
	case w.next != nil:
		if !w.queue.Busy("") {
			w.apply(ctx)
		}
		return
	}
	for task := w.queue.Next(); task != nil; task = w.queue.Next() {
		t := watchTask{a: w.a, c: w.c, o: w.o, p: w.p, work: task}
		w.tell(ctx, true)
		w.tasks.Go(func() { w.end(ctx, taskEnd{task: task, rebuilt: t.run(ctx)}) })
	}
}

// tell says to whoever follows the containers, too, whether something is being done to them.
func (w *watchSession) tell(ctx context.Context, busy bool) {
	if w.o.busy == nil {
		return
	}
	select {
	case w.o.busy <- busy:
	case <-ctx.Done():
	}
}

// taskEnded takes stock of the containers: those that a task has made, though not from the files as they are now, get what was
// copied into the ones before.
func (w *watchSession) taskEnded(ctx context.Context, end taskEnd) {
	w.queue.Done(end.task)
	w.applying = w.applying && end.task != nil
	all, err := w.c.Containers(ctx, w.p.Name)
	if err != nil {
		w.warn(err.Error())
	}
	replaced := map[string]bool{}
	for _, c := range all {
		if !w.known[c.ID] && !c.OneOff && !w.queue.Busy(c.Service) {
			w.known[c.ID], replaced[c.Service] = true, true
		}
	}
	for service := range replaced {
		if _, did := end.task[service]; did && end.rebuilt {
			delete(w.copied, service)
		}
		w.repeat(service)
	}
	w.tell(ctx, w.queue.Busy("") || w.applying)
}

func (w *watchSession) end(ctx context.Context, end taskEnd) {
	select {
	case w.ends <- end:
	case <-ctx.Done():
	}
}
