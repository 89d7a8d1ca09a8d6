package keeper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/runtime/initbin"
	"tutti/runtime/logs"
)

// TestNothingIsLost: the engine is killed with -9 at random moments, 40 times, while a container writes as fast as
// it can. Every line must be in the log once and in order, and the exit status right.
func TestNothingIsLost(t *testing.T) {
	b := newBed(t, "serves")
	b.start()
	const count, kills = 1_500_000, 40
	var none any
	b.ask(&none, "capture", b.dir, fmt.Sprintf("seq %d & seq %d >&2; wait; exit 17", count, count))
	var slowest time.Duration
	for range kills {
		time.Sleep(time.Duration(rand.IntN(15_000)) * time.Microsecond)
		slowest = max(slowest, b.killEngine())
	}
	var got runtime.ExitStatus
	b.ask(&got, "wait", captured)
	if got.Code != 17 {
		t.Errorf("ended with %+v", got)
	}
	t.Logf("slowest of %d restarts: %s", kills, slowest)
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

// TestTinyProgram: the keeper must run from a sealed memfd as the program that is shipped, and stay small.
func TestTinyProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tutti-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "tutti/cmd/tutti-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, "serves")
	b.program = func() (*os.File, error) { return initbin.Seal("tutti-keeper", binary) }
	started := time.Now()
	b.start()
	took := time.Since(started)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.keeper))
	if err != nil || !strings.HasPrefix(exe, "/memfd:tutti-keeper") {
		t.Errorf("the keeper runs from %s, %v", exe, err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/exe", b.keeper), os.O_WRONLY, 0)
	if err == nil {
		f.Close()
		t.Error("the keeper's program can be opened for writing")
	}
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", b.keeper))
	if err != nil {
		t.Fatal(err)
	}
	pss := 0
	for line := range strings.Lines(string(smaps)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &pss); err == nil {
			break
		}
	}
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", b.keeper))
	if want := expectedOOMScore(t); err != nil || strings.TrimSpace(string(score)) != want {
		t.Errorf("oom_score_adj is %s, %v, want %s", score, err, want)
	}
	t.Logf("program %d KB, PSS %d KB, keeper and engine ready in %s", len(binary)>>10, pss, took)
	if pss > 6<<10 {
		t.Errorf("the keeper has a PSS of %d KB", pss)
	}
}

// expectedOOMScore returns what the keeper can get: only CAP_SYS_RESOURCE, which root in a sandbox may lack,
// allows less than the present value.
func expectedOOMScore(t *testing.T) string {
	t.Helper()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		t.Fatal(err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return "-999"
	}
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(own))
}

// TestUpgrade: the file that is at the engine's path at the time of a restart is started; if there is none, the
// one that ran.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	installed := filepath.Join(b.dir, "tutti")
	if err := os.Link(b.options.EngineArgv[0], installed); err != nil {
		if out, err := exec.Command("cp", b.options.EngineArgv[0], installed).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	b.options.EngineArgv[0] = installed
	b.start()
	upgrade := installed + ".new"
	if out, err := exec.Command("cp", installed, upgrade).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.Rename(upgrade, installed); err != nil {
		t.Fatal(err)
	}
	b.killEngine()
	if !b.runs(installed) {
		t.Error("the engine is not that of the upgrade")
	}
	if err := os.Remove(installed); err != nil {
		t.Fatal(err)
	}
	b.killEngine()
	b.killEngine()
}

// runs tells whether the engine's program is the file at path.
func (b *bed) runs(path string) bool {
	engine, _ := b.pids()
	running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", engine))
	if err != nil {
		b.t.Fatal(err)
	}
	file, err := os.Stat(path)
	if err != nil {
		b.t.Fatal(err)
	}
	return os.SameFile(running, file)
}

// TestEngineThatDoesNotComeBack: while there is something to keep, the keeper goes on trying.
func TestEngineThatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	b := newBed(t, "serves")
	b.start()
	var pid int
	b.ask(&pid, "spawn", "x", "exec sleep 1000")
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	broken := filepath.Join(b.dir, "broken")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	engine, _ := b.pids()
	_ = syscall.Kill(engine, syscall.SIGKILL)
	awaitGone(t, engine)
	if err := start(t.Context(), b.options, program); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a starter meanwhile is told %v", err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	var held []string
	b.ask(&held, "held")
	if len(held) != 1 {
		t.Errorf("held: %v", held)
	}
}
