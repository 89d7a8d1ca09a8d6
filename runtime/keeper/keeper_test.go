package keeper

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tutti/runtime"
)

// TestExitsSurviveTheEngine: exit statuses must be right whether the process ends before, while or after the
// engine is dead, and stay until Release.
func TestExitsSurviveTheEngine(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	var pid int
	gates := map[string]string{}
	scripts := map[string]string{"before": "exit 7", "while": "exit 42", "after": "kill -9 $$"}
	for id, script := range scripts {
		gates[id] = b.dir + "/" + id
		if err := syscall.Mkfifo(gates[id], 0o600); err != nil {
			t.Fatal(err)
		}
		b.ask(&pid, "spawn", id, "read x < "+gates[id]+"; "+script)
	}
	end := func(id string) {
		if err := os.WriteFile(gates[id], []byte("\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
	var got runtime.ExitStatus
	end("before")
	b.ask(&got, "wait", "before")
	engine, _ := b.pids()
	_ = syscall.Kill(engine, syscall.SIGKILL)
	end("while")
	b.killEngine()
	end("after")
	for id, want := range map[string]runtime.ExitStatus{"before": {Code: 7}, "while": {Code: 42}, "after": {Code: 137, Signal: 9}} {
		b.ask(&got, "wait", id)
		if got.Code != want.Code || got.Signal != want.Signal || time.Since(got.At) > 10*time.Minute {
			t.Errorf("%s ended with %+v, want %+v", id, got, want)
		}
	}
	var held []string
	b.ask(&held, "held")
	if !slices.Equal(held, []string{"after", "before", "while"}) {
		t.Errorf("held: %v", held)
	}
	var none any
	b.ask(&none, "release", "before")
	b.killEngine()
	b.ask(&held, "held")
	if !slices.Equal(held, []string{"after", "while"}) {
		t.Errorf("held after release: %v", held)
	}
}

// TestFilesSurviveTheEngine: more files than one message carries must be held all and be taken whole, again
// and again, by every engine.
func TestFilesSurviveTheEngine(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	const count = 450
	var none any
	b.ask(&none, "hold", "web", strconv.Itoa(count))
	b.killEngine()
	var content map[string]string
	b.ask(&content, "take", "web")
	if len(content) != count {
		t.Errorf("took %d files, want %d", len(content), count)
	}
	for name, text := range content {
		if name != text {
			t.Fatalf("%s holds %q", name, text)
		}
	}
	b.ask(&none, "release", "web")
	b.ask(&content, "take", "web")
	b.awaitFiles(20)
}

// awaitFiles waits until the keeper has no more than so many files open.
func (b *bed) awaitFiles(most int) {
	b.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		fds, err := os.ReadDir("/proc/" + strconv.Itoa(b.keeper) + "/fd")
		if err != nil {
			b.t.Fatal(err)
		}
		if len(fds) <= most {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the keeper has %d files open after the release", len(fds))
		}
	}
}

// TestRestartIsFast: a new engine must serve within 100 ms after a kill, when it gets the processor at once.
func TestRestartIsFast(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	var took []time.Duration
	for deadline := time.Now().Add(2 * time.Minute); ; {
		took = append(took, b.killEngine())
		if best := slices.Min(took); best <= 100*time.Millisecond && len(took) >= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s at best, want at most 100 ms", slices.Min(took))
		}
	}
	t.Logf("kill -9 until the next engine answers: %v", took)
}

// TestConcurrentStarts: starters at the same time must start one keeper, and all return when it is ready.
func TestConcurrentStarts(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	var wg sync.WaitGroup
	keepers := make([]int, 8)
	for i := range keepers {
		wg.Go(func() {
			if err := start(t.Context(), b.options, program); err != nil {
				t.Error(err)
				return
			}
			var pids []int
			if err := b.try(&pids, "pids"); err != nil {
				t.Errorf("start returned before the engine was ready: %v", err)
				return
			}
			keepers[i] = pids[1]
		})
	}
	wg.Wait()
	b.keeper = keepers[0]
	t.Cleanup(b.stop)
	if slices.Min(keepers) != slices.Max(keepers) {
		t.Errorf("several keepers: %v", keepers)
	}
}

// TestStartErrors: the engine's own words must reach the starter, and no keeper stay.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"refuses":          "the engine did not start: the disk is on holiday",
		"crashes":          "the engine did not start: panic: out of cheese",
		"crashes-silently": "ended with status 3",
		"finishes":         "the keeper ended before the engine was ready",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, mode)
			err := start(t.Context(), b.options, program)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	t.Run("no such program", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, "serves")
		b.options.EngineArgv[0] = b.dir + "/nothing"
		err := start(t.Context(), b.options, program)
		if err == nil || !strings.Contains(err.Error(), "nothing: no such file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, "serves")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := start(ctx, b.options, program); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// TestStopAndStartAgain: a starter that comes while the engine is about to exit must get a new one.
func TestStopAndStartAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	first := b.keeper
	_ = b.try(new(any), "stop") // it may be gone before it answers
	if err := start(t.Context(), b.options, program); err != nil {
		t.Fatal(err)
	}
	_, b.keeper = b.pids()
	if b.keeper == first {
		t.Error("the old keeper is still there")
	}
	awaitEnd(t, first)
}

// TestRegistrations: what the keeper refuses must come back from Wait, and an exit before its registration count.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	var pid int
	var none any
	b.ask(&pid, "spawn-unregistered", "", "exit 9")
	b.ask(&none, "hold", "early", "3")
	awaitGone(t, pid)
	b.ask(&none, "register", "early", strconv.Itoa(pid))
	var got runtime.ExitStatus
	b.ask(&got, "wait", "early")
	if got.Code != 9 {
		t.Errorf("an exit before its registration: %+v", got)
	}
	b.ask(&none, "register", "stranger", strconv.Itoa(os.Getpid()))
	if err := b.try(&got, "wait", "stranger"); err == nil || !strings.Contains(err.Error(), "no such child") {
		t.Errorf("a process that is no child: %v", err)
	}
	if err := b.try(&got, "wait", "nobody"); err == nil || !strings.Contains(err.Error(), ErrUnknown.Error()) {
		t.Errorf("an unknown id: %v", err)
	}
}

// BenchmarkContainers measures what the keeper costs 100 container starts, one after the other.
func BenchmarkContainers(b *testing.B) {
	bed := newBed(b, "serves")
	bed.start()
	for b.Loop() {
		var cost map[string]float64
		bed.ask(&cost, "bench", "100")
		for step, microseconds := range cost {
			b.ReportMetric(microseconds, "µs/"+step)
		}
	}
}
