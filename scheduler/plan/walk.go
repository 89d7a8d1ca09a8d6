package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// OpError is the failure of one operation.
type OpError struct {
	Op  Op
	Err error
}

// Error names the operation and what went wrong.
func (e *OpError) Error() string { return e.Op.ID + ": " + e.Err.Error() }

// Unwrap returns what the operation failed with.
func (e *OpError) Unwrap() error { return e.Err }

// Skip is an operation that did not run.
type Skip struct {
	Op Op
	// Because is the id of the failed operation that it waited for, directly or
	// through others; empty when the walk was cancelled.
	Because string
}

// WalkError tells everything that went wrong in a walk.
type WalkError struct {
	Failed  []*OpError
	Skipped []Skip
	// Cancelled is the context's cause when that ended the walk.
	Cancelled error
}

// Error lists every failure, one per line.
func (e *WalkError) Error() string {
	var lines []string
	for _, f := range e.Failed {
		lines = append(lines, f.Error())
	}
	if e.Cancelled != nil {
		lines = append(lines, e.Cancelled.Error())
	}
	if len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("%d operations did not run", len(e.Skipped)))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns every failure and the cause of the cancellation.
func (e *WalkError) Unwrap() []error {
	var all []error
	for _, f := range e.Failed {
		all = append(all, f)
	}
	if e.Cancelled != nil {
		all = append(all, e.Cancelled)
	}
	return all
}

// errGraph is returned for plans that are no directed acyclic graphs.
var errGraph = errors.New("plan is not a directed acyclic graph")

// Walk applies the plan's operations, each as soon as all that it names in After
// have succeeded. At most parallel of them run at once (any number if it is 0 or
// less); operations that only wait are not counted. The result of an operation is
// recorded before any operation after it is begun.
//
// Operations after a failed one never run; all others still do. Optional
// operations are complete for what comes after them also when they failed, or did
// not run because something before them failed. Cancelling ctx stops new operations
// from being begun; those that run are given ctx and are waited for.
//
// It returns nil or a *WalkError.
func Walk(ctx context.Context, p *Plan, parallel int, apply func(ctx context.Context, op Op) error) error {
	w, err := newWalker(p)
	if err != nil {
		return err
	}
	if parallel <= 0 {
		parallel = len(p.Ops)
	}
	w.ctx, w.parallel, w.apply = ctx, parallel, apply
	w.run()
	return w.report()
}

type outcome uint8

const (
	pending outcome = iota
	running
	succeeded
	failed
	skipped
)

type vertex struct {
	outcome outcome
	waits   int     // operations before this one that are not over
	next    []int32 // operations after this one
	err     error   // of a failed one
	because int32   // index of the failed operation that this one was skipped for, -1
}

// walker is the state of one walk. An operation's goroutine records its result and goes
// on with the next operation that may run, so that a walk needs no more goroutines than
// operations run at once.
type walker struct {
	plan     *Plan
	ctx      context.Context //nolint:containedctx // the walker lives as long as the call of Walk
	apply    func(ctx context.Context, op Op) error
	parallel int
	workers  sync.WaitGroup

	mu       sync.Mutex
	vertices []vertex
	ready    []int32 // may run, in plan order
	waiting  []int32 // may run and take no slot
	left     int     // vertices that are pending or running
	limited  int     // running operations that count
}

func newWalker(p *Plan) (*walker, error) {
	w := &walker{plan: p, vertices: make([]vertex, len(p.Ops)), left: len(p.Ops)}
	index := make(map[string]int32, len(p.Ops))
	for i := range p.Ops {
		w.vertices[i].because = -1
		if _, twice := index[p.Ops[i].ID]; twice {
			return nil, fmt.Errorf("%w: two operations are called %q", errGraph, p.Ops[i].ID)
		}
		// Only earlier operations are known, so a cycle cannot be expressed.
		for _, id := range p.Ops[i].After {
			before, ok := index[id]
			if !ok {
				return nil, fmt.Errorf("%w: %q comes after %q, which is not before it", errGraph, p.Ops[i].ID, id)
			}
			w.vertices[before].next = append(w.vertices[before].next, int32(i))
			w.vertices[i].waits++
		}
		index[p.Ops[i].ID] = int32(i)
	}
	for i := range w.vertices {
		if w.vertices[i].waits == 0 {
			w.queue(int32(i))
		}
	}
	return w, nil
}

func (w *walker) run() {
	w.mu.Lock()
	first, ok := w.dispatch()
	w.mu.Unlock()
	if ok {
		w.workers.Add(1)
		w.work(first)
	}
	w.workers.Wait()
}

// work runs an operation, then others for as long as there are any.
func (w *walker) work(i int32) {
	defer w.workers.Done()
	for ok := true; ok; {
		err := w.apply(w.ctx, w.plan.Ops[i])
		w.mu.Lock()
		w.finish(i, err)
		i, ok = w.dispatch()
		w.mu.Unlock()
	}
}

// dispatch begins everything that may run now: one operation is returned for the caller
// to run, the others get goroutines.
func (w *walker) dispatch() (own int32, ok bool) {
	if w.ctx.Err() != nil {
		return 0, false
	}
	begin := func(i int32) {
		w.vertices[i].outcome = running
		if !ok {
			own, ok = i, true
			return
		}
		w.workers.Add(1)
		go w.work(i)
	}
	for len(w.ready) > 0 && w.limited < w.parallel {
		w.limited++
		begin(w.ready[0])
		w.ready = w.ready[1:]
	}
	for _, i := range w.waiting {
		begin(i)
	}
	w.waiting = w.waiting[:0]
	return own, ok
}

func (w *walker) queue(i int32) {
	if w.plan.Ops[i].Kind.Waits() {
		w.waiting = append(w.waiting, i)
		return
	}
	w.ready = append(w.ready, i)
}

func (w *walker) finish(i int32, err error) {
	v := &w.vertices[i]
	if !w.plan.Ops[i].Kind.Waits() {
		w.limited--
	}
	if err != nil {
		v.outcome, v.err = failed, err
	} else {
		v.outcome = succeeded
	}
	w.settle(i)
}

// settle tells the operations after one that is over, and skips what can no longer
// run. It uses a stack: chains may be thousands of operations long.
func (w *walker) settle(i int32) {
	over := []int32{i}
	for len(over) > 0 {
		i := over[len(over)-1]
		over = over[:len(over)-1]
		w.left--
		v := &w.vertices[i]
		good := v.outcome == succeeded || w.plan.Ops[i].Optional
		for _, n := range v.next {
			next := &w.vertices[n]
			next.waits--
			if !good && next.because < 0 {
				next.because = i
				if v.outcome == skipped {
					next.because = v.because
				}
			}
			switch {
			case next.waits > 0:
			case next.because >= 0:
				next.outcome = skipped
				over = append(over, n)
			default:
				w.queue(n)
			}
		}
	}
}

func (w *walker) report() error {
	e := &WalkError{}
	for i := range w.vertices {
		v, op := &w.vertices[i], w.plan.Ops[i]
		switch v.outcome {
		case failed:
			if !op.Optional {
				e.Failed = append(e.Failed, &OpError{Op: op, Err: v.err})
			}
		case skipped:
			e.Skipped = append(e.Skipped, Skip{Op: op, Because: w.plan.Ops[v.because].ID})
		case pending:
			e.Skipped = append(e.Skipped, Skip{Op: op})
		case succeeded, running:
		}
	}
	if w.left > 0 {
		e.Cancelled = context.Cause(w.ctx)
	}
	if len(e.Failed) == 0 && len(e.Skipped) == 0 && e.Cancelled == nil {
		return nil
	}
	return e
}
