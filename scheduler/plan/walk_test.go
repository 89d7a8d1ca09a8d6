package plan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutti/scheduler/plan"
)

func op(id string, after ...string) plan.Op {
	return plan.Op{ID: id, Kind: plan.CreateContainer, After: after}
}

// recorder remembers when operations began and ended.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *recorder) index(event string) int { return slices.Index(r.events, event) }

func TestWalkRunsDependentsOfAFailureNever(t *testing.T) {
	boom := errors.New("boom")
	p := &plan.Plan{Ops: []plan.Op{
		op("a"), op("b"), op("a1", "a"), op("b1", "b"), op("a2", "a1"), op("ab", "a1", "b1"), op("b2", "b1"),
	}}
	r := &recorder{}
	err := plan.Walk(t.Context(), p, 1, func(_ context.Context, o plan.Op) error {
		r.add("%s", o.ID)
		if o.ID == "a" {
			return boom
		}
		return nil
	})
	if got := strings.Join(r.events, " "); got != "a b b1 b2" {
		t.Errorf("ran %s", got)
	}
	var e *plan.WalkError
	if !errors.As(err, &e) || !errors.Is(err, boom) {
		t.Fatalf("error is %v", err)
	}
	var skipped []string
	for _, s := range e.Skipped {
		skipped = append(skipped, s.Op.ID+" because of "+s.Because)
	}
	if got := strings.Join(skipped, ", "); got != "a1 because of a, a2 because of a, ab because of a" {
		t.Errorf("skipped %s", got)
	}
	if err.Error() != "a: boom" {
		t.Errorf("message is %q", err)
	}
}

func TestWalkReportsEveryFailure(t *testing.T) {
	p := &plan.Plan{Ops: []plan.Op{op("a"), op("b"), op("c", "a", "b")}}
	err := plan.Walk(t.Context(), p, 0, func(_ context.Context, o plan.Op) error { return errors.New("no " + o.ID) })
	if err == nil || err.Error() != "a: no a\nb: no b" {
		t.Errorf("error is %v", err)
	}
}

// What comes after an optional operation runs when that fails, and when it cannot run.
func TestWalkToleratesOptionalOperations(t *testing.T) {
	optional := func(id string, after ...string) plan.Op {
		o := op(id, after...)
		o.Optional = true
		return o
	}
	p := &plan.Plan{Ops: []plan.Op{optional("wait"), op("web", "wait")}}
	ran := 0
	if err := plan.Walk(t.Context(), p, 0, func(_ context.Context, o plan.Op) error {
		ran++
		if o.Optional {
			return errors.New("not there")
		}
		return nil
	}); err != nil || ran != 2 {
		t.Errorf("ran %d operations, error %v", ran, err)
	}

	p = &plan.Plan{Ops: []plan.Op{op("start db"), optional("wait", "start db"), op("web", "wait")}}
	r := &recorder{}
	err := plan.Walk(t.Context(), p, 0, func(_ context.Context, o plan.Op) error {
		r.add("%s", o.ID)
		if o.ID == "start db" {
			return errors.New("no db")
		}
		return nil
	})
	if err == nil || strings.Join(r.events, ",") != "start db,web" {
		t.Errorf("ran %v, error %v", r.events, err)
	}
}

// Operations that wait take no slot: with one slot, the thing waited for still runs.
func TestWalkDoesNotBlockOnWaits(t *testing.T) {
	released := make(chan struct{})
	p := &plan.Plan{Ops: []plan.Op{
		{ID: "wait", Kind: plan.AwaitCondition}, op("release"), op("after", "wait"),
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := plan.Walk(ctx, p, 1, func(ctx context.Context, o plan.Op) error {
		switch o.ID {
		case "wait":
			select {
			case <-released:
			case <-ctx.Done():
				return ctx.Err()
			}
		case "release":
			close(released)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestWalkStopsWhenCancelled(t *testing.T) {
	stop := errors.New("user stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := &plan.Plan{Ops: []plan.Op{op("a"), op("b", "a"), op("c", "b")}}
	r := &recorder{}
	err := plan.Walk(ctx, p, 0, func(_ context.Context, o plan.Op) error {
		r.add("%s", o.ID)
		cancel(stop)
		return nil
	})
	var e *plan.WalkError
	if !errors.As(err, &e) || !errors.Is(err, stop) || len(e.Skipped) != 2 || len(r.events) != 1 {
		t.Errorf("ran %v, error %v", r.events, err)
	}
}

func TestWalkRefusesWhatIsNoGraph(t *testing.T) {
	for _, p := range []*plan.Plan{
		{Ops: []plan.Op{op("a", "b"), op("b", "a")}},
		{Ops: []plan.Op{op("a", "a")}},
		{Ops: []plan.Op{op("a", "gone")}},
		{Ops: []plan.Op{op("a"), op("a")}},
	} {
		if err := plan.Walk(t.Context(), p, 0, func(context.Context, plan.Op) error { return nil }); err == nil {
			t.Errorf("%v was walked", p.Ops)
		}
	}
}

// In random graphs with random failures: nothing begins before all that it comes after
// has ended well, dependents of failures never run, everything else runs exactly once,
// and no more than the allowed number runs at a time.
func TestWalkRandomGraphs(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		p, fails := randomPlan(random)
		parallel := random.IntN(6)
		var now, most atomic.Int64
		r := &recorder{}
		err := plan.Walk(t.Context(), p, parallel, func(_ context.Context, o plan.Op) error {
			if !o.Kind.Waits() {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				defer now.Add(-1)
			}
			r.add("begin %s", o.ID)
			defer r.add("end %s", o.ID)
			if fails[o.ID] {
				return errors.New("failed")
			}
			return nil
		})
		if parallel > 0 && most.Load() > int64(parallel) {
			t.Fatalf("seed %d: %d at a time, allowed %d", seed, most.Load(), parallel)
		}
		checkWalk(t, seed, p, fails, r, err)
	}
}

func randomPlan(random *rand.Rand) (*plan.Plan, map[string]bool) {
	p := &plan.Plan{}
	fails := map[string]bool{}
	for i := range 1 + random.IntN(60) {
		o := op(fmt.Sprint(i))
		if random.IntN(5) == 0 {
			o.Kind = plan.AwaitCondition
			o.Optional = random.IntN(2) == 0
		}
		for j := range i {
			if random.IntN(8) == 0 {
				o.After = append(o.After, fmt.Sprint(j))
			}
		}
		fails[o.ID] = random.IntN(10) == 0
		p.Ops = append(p.Ops, o)
	}
	return p, fails
}

// checkWalk compares a walk with what should have happened, computed one by one.
func checkWalk(t *testing.T, seed uint64, p *plan.Plan, fails map[string]bool, r *recorder, err error) {
	t.Helper()
	good := map[string]bool{}
	wantError := false
	for _, o := range p.Ops {
		runs := true
		for _, id := range o.After {
			runs = runs && good[id]
		}
		good[o.ID] = o.Optional || runs && !fails[o.ID]
		wantError = wantError || (runs && fails[o.ID] && !o.Optional)
		begin := r.index("begin " + o.ID)
		if (begin >= 0) != runs {
			t.Fatalf("seed %d: operation %s ran: %v, want %v", seed, o.ID, begin >= 0, runs)
		}
		for _, id := range o.After {
			if end := r.index("end " + id); runs && end > begin {
				t.Fatalf("seed %d: %s began before %s ended", seed, o.ID, id)
			}
		}
	}
	if (err != nil) != wantError {
		t.Fatalf("seed %d: error %v, want one: %v", seed, err, wantError)
	}
}

// A thousand containers, each created and started, in chains of ten by depends_on.
func BenchmarkWalk2000(b *testing.B) {
	p := &plan.Plan{}
	for i := range 1000 {
		create, start := fmt.Sprintf("create %d", i), fmt.Sprintf("start %d", i)
		p.Ops = append(p.Ops, op(create))
		after := []string{create}
		if i%10 > 0 {
			after = append(after, fmt.Sprintf("start %d", i-1))
		}
		p.Ops = append(p.Ops, op(start, after...))
	}
	for b.Loop() {
		if err := plan.Walk(b.Context(), p, 16, func(context.Context, plan.Op) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
