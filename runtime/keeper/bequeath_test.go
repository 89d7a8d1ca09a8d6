package keeper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/runtime/logs"
)

// killKeeper kills the keeper with -9 and returns once an engine of another answers.
func (b *bed) killKeeper() time.Duration {
	b.t.Helper()
	engine, keeper := b.pids()
	start := time.Now()
	_ = syscall.Kill(keeper, syscall.SIGKILL)
	for {
		var pids []int
		b.ask(&pids, "pids")
		if pids[0] != engine && pids[1] != keeper {
			took := time.Since(start)
			awaitEnd(b.t, keeper)
			awaitEnd(b.t, engine)
			b.keeper = pids[1]
			return took
		}
	}
}

// TestKeeperIsReplaced: when the keeper is killed, its engine must start another that has everything: files, exits known
// before, exits that come while there is no keeper, and later ones.
func TestKeeperIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBed(t, "inherits")
	b.start()
	var none any
	var got runtime.ExitStatus
	pids := map[string]int{}
	scripts := map[string]string{"before": "exit 7", "while": "exit 42", "zombie": "exit 43", "after": "exit 44", "killed": "kill -9 $$"}
	for id, script := range scripts {
		gate := filepath.Join(b.dir, id)
		if err := syscall.Mkfifo(gate, 0o600); err != nil {
			t.Fatal(err)
		}
		var pid int
		b.ask(&pid, "spawn", id, "read x < "+gate+"; "+script)
		pids[id] = pid
	}
	end := func(id string) {
		if err := os.WriteFile(filepath.Join(b.dir, id), []byte("\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
	b.ask(&none, "hold", "web", "450")
	end("before")
	b.ask(&got, "wait", "before")

	// The engine stands still, so that these end while there is no keeper at all.
	engine, keeper := b.pids()
	_ = syscall.Kill(engine, syscall.SIGSTOP)
	_ = syscall.Kill(keeper, syscall.SIGKILL)
	awaitEnd(t, keeper)
	end("while")
	awaitEnd(t, pids["while"]) // reaped, as the machine's init does
	end("zombie")
	awaitState(t, pids["zombie"], 'Z')
	_ = syscall.Kill(engine, syscall.SIGCONT)
	awaitEnd(t, engine)
	_, b.keeper = b.pids()

	b.killKeeper()
	b.killKeeper()
	end("after")
	end("killed")
	awaitEnd(t, pids["killed"])
	for id, want := range map[string]runtime.ExitStatus{"before": {Code: 7}, "while": {Code: 42}, "zombie": {Code: 43}, "after": {Code: 44}, "killed": {Code: 137, Signal: 9}} {
		if id == "while" && !kernelKeepsExits(t) {
			if err := b.try(&got, "wait", id); err == nil || !strings.Contains(err.Error(), ErrUnseen.Error()) {
				t.Errorf("%s: %v, want ErrUnseen on this kernel", id, err)
			}
			continue
		}
		b.ask(&got, "wait", id)
		if got.Code != want.Code || got.Signal != want.Signal {
			t.Errorf("%s ended with %+v, want %+v", id, got, want)
		}
	}
	var content map[string]string
	b.ask(&content, "take", "web")
	if len(content) != 450 {
		t.Errorf("took %d files, want 450", len(content))
	}
	for _, id := range []string{"zombie", "after"} {
		awaitEnd(t, pids[id])
	}
	for id := range scripts {
		b.ask(&none, "release", id)
	}
	b.ask(&none, "release", "web")
	b.awaitFiles(20)
}

// kernelKeepsExits tells whether a pidfd knows the exit status of a process that is reaped: Linux 6.15.
func kernelKeepsExits(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 15
}

func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("process %d is not in state %c: %s %v", pid, state, b, err)
		}
		if _, rest, ok := strings.Cut(string(b), ") "); ok && rest[0] == state {
			return
		}
	}
}

// TestNothingIsLostWithTheKeeper: keepers and engines are killed at random moments while a container writes as fast as
// it can. Every line must be in the log once and in order, and the exit status right.
func TestNothingIsLostWithTheKeeper(t *testing.T) {
	b := newBed(t, "inherits")
	b.start()
	const count, kills = 1_000_000, 20
	var none any
	b.ask(&none, "capture", b.dir, fmt.Sprintf("seq %d & seq %d >&2; wait; exit 17", count, count))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var slowest time.Duration
	for i := range kills {
		time.Sleep(time.Duration(random.IntN(15_000)) * time.Microsecond)
		if i%3 == 0 {
			b.killEngine()
			continue
		}
		slowest = max(slowest, b.killKeeper())
	}
	var got runtime.ExitStatus
	b.ask(&got, "wait", captured)
	if got.Code != 17 {
		t.Errorf("ended with %+v", got)
	}
	t.Logf("slowest replacement of a keeper: %s", slowest)
	f, err := logs.Open(filepath.Join(b.dir, "log.json"), logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next := map[string]int{logs.Stdout: 1, logs.Stderr: 1}
	err = f.Read(t.Context(), logs.ReadOptions{Tail: -1}, func(e logs.Entry) error {
		if want := fmt.Sprintf("%d\n", next[e.Stream]); string(e.Line) != want {
			return fmt.Errorf("%s: %q instead of %q", e.Stream, e.Line, want)
		}
		next[e.Stream]++
		return nil
	})
	if err != nil || next[logs.Stdout] != count+1 || next[logs.Stderr] != count+1 {
		t.Errorf("%v of %d: %v", next, count, err)
	}
}

// TestStoppedEngineIsWoken: an engine that somebody stops serves on.
func TestStoppedEngineIsWoken(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	engine, _ := b.pids()
	_ = syscall.Kill(engine, syscall.SIGSTOP)
	if again, _ := b.pids(); again != engine {
		t.Errorf("engine %d instead of %d", again, engine)
	}
}

// TestKeeperSignals: signals that do not kill must not end a keeper that has something to keep.
func TestKeeperSignals(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	var pid int
	b.ask(&pid, "spawn", "x", "exec sleep 1000")
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		_ = syscall.Kill(b.keeper, sig)
		if _, keeper := b.pids(); keeper != b.keeper {
			t.Fatalf("%v ended the keeper", sig)
		}
	}
}
