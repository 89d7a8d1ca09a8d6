package treewatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// room is a folder that is watched, and what was told of it.
type room struct {
	t   *testing.T
	dir string
	w   *Watcher

	mu   sync.Mutex
	seen map[string]bool
}

// within is when a test gives up waiting: nothing here takes a second.
const within = time.Minute

// newRoom watches the folders and files named in an empty folder, after prepare.
func newRoom(t *testing.T, prepare func(dir string), skips func(string) bool, roots ...string) *room {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	prepare(dir)
	for i, r := range roots {
		roots[i] = filepath.Join(dir, r)
	}
	r := &room{t: t, dir: dir, seen: map[string]bool{}}
	r.w, err = New(Selection{Roots: roots, Skips: skips, Wants: func(path string) bool { return !strings.HasSuffix(path, ".noise") }})
	if err != nil {
		t.Fatal(err)
	}
	r.run()
	return r
}

func (r *room) run() {
	ctx, cancel := context.WithCancel(context.Background())
	batches := make(chan Batch)
	var all sync.WaitGroup
	all.Go(func() {
		if err := r.w.Run(ctx, batches); err != nil {
			r.t.Error(err)
		}
	})
	all.Go(func() {
		for {
			select {
			case b := <-batches:
				r.mu.Lock()
				for path, gone := range b {
					r.seen[path] = r.seen[path] || gone
				}
				r.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	r.t.Cleanup(func() {
		cancel()
		all.Wait()
		if err := r.w.Close(); err != nil {
			r.t.Error(err)
		}
	})
}

func keepAll(string) bool { return false }

func (r *room) path(name string) string { return filepath.Join(r.dir, name) }

func (r *room) write(name string) {
	r.t.Helper()
	must(r.t, os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	must(r.t, os.WriteFile(r.path(name), []byte(time.Now().String()), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// told waits until all of the paths were told, and forgets them.
func (r *room) told(names ...string) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for {
		r.mu.Lock()
		var missing []string
		for _, n := range names {
			if _, ok := r.seen[r.path(n)]; !ok {
				missing = append(missing, n)
			}
		}
		if len(missing) == 0 {
			for _, n := range names {
				delete(r.seen, r.path(n))
			}
		}
		seen := fmt.Sprint(r.seen)
		r.mu.Unlock()
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%v was not told; %s was", missing, seen)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// silent checks that nothing was told of paths.
func (r *room) silent(names ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		if _, ok := r.seen[r.path(n)]; ok {
			r.t.Errorf("%s was told", n)
		}
	}
}

// Everything that can happen to a file is told, also in folders that come, go and move.
func TestChanges(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "src/deep/er"), 0o755))
		must(t, os.MkdirAll(filepath.Join(dir, "src/node_modules/x"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "src/deep/old"), nil, 0o644))
		must(t, os.MkdirAll(filepath.Join(dir, "else"), 0o755))
	}, func(folder string) bool { return filepath.Base(folder) == "node_modules" }, "src", "one/file.conf", "late/tree")

	r.write("src/a")
	r.told("src/a")
	must(t, os.Chmod(r.path("src/a"), 0o600))
	r.told("src/a")
	must(t, os.Symlink("/etc", r.path("src/link")))
	r.told("src/link")
	must(t, os.Remove(r.path("src/a")))
	r.told("src/a")

	r.write("src/.a.tmp") // as editors do it
	must(t, os.Rename(r.path("src/.a.tmp"), r.path("src/a")))
	r.told("src/a", "src/.a.tmp")

	r.write("src/new/er/est/file") // some of it before the folder is watched
	r.told("src/new", "src/new/er", "src/new/er/est", "src/new/er/est/file")
	r.write("src/new/er/est/file")
	r.told("src/new/er/est/file")

	must(t, os.Rename(r.path("src/new"), r.path("src/moved"))) // what is in it goes with it
	r.told("src/new", "src/new/er/est/file", "src/moved", "src/moved/er/est/file")
	r.write("src/moved/er/est/file")
	r.told("src/moved/er/est/file")
	r.silent("src/new/er/est/file")

	must(t, os.Rename(r.path("src/deep"), r.path("else/deep"))) // out of what is watched
	r.told("src/deep", "src/deep/old")
	r.write("else/deep/old")
	must(t, os.Rename(r.path("else/deep"), r.path("src/deep"))) // and back
	r.told("src/deep", "src/deep/old")
	r.write("src/deep/er/file")
	r.told("src/deep/er/file")

	r.write("src/node_modules/x/index.js")
	r.write("src/b.noise")
	r.write("one/file.conf") // its folder was not there
	r.told("one/file.conf")
	r.write("one/other.conf")
	r.write("late/tree/x/y")
	r.told("late/tree/x/y")
	must(t, os.RemoveAll(r.path("late")))
	r.told("late/tree", "late/tree/x/y")
	r.write("late/tree/z")
	r.told("late/tree/z")
	r.silent("src/node_modules/x/index.js", "src/b.noise", "one/other.conf", "else/deep/old")

	must(t, os.RemoveAll(r.path("src"))) // the root itself
	r.told("src", "src/a")
	r.write("src/again")
	r.told("src/again")
	r.write("src/again")
	r.told("src/again")
}

// Nothing that is no file keeps the watch from going on.
func TestStrangeFiles(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(dir string) {
		must(t, os.Mkdir(filepath.Join(dir, "src"), 0o755))
		must(t, syscall.Mkfifo(filepath.Join(dir, "src/fifo"), 0o644))
		must(t, os.Symlink(".", filepath.Join(dir, "src/endless")))
		must(t, os.Symlink("/proc", filepath.Join(dir, "src/proc")))
	}, keepAll, "src")
	must(t, syscall.Mkfifo(r.path("src/fifo2"), 0o644))
	must(t, os.Symlink("..", r.path("src/up")))
	r.write("src/a")
	r.told("src/fifo2", "src/up", "src/a")
	r.silent("src/endless/a", "src/up/src")
}

// When the kernel's queue has overflowed, what has changed is found by comparison.
func TestOverflow(t *testing.T) {
	t.Parallel()
	var gate sync.Mutex
	r := newRoom(t, func(dir string) {
		for _, name := range []string{"src/one/gone", "src/one/same", "src/one/changed", "src/folder/x", "src/busy"} {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
			old := time.Now().Add(-time.Hour)
			must(t, os.Chtimes(filepath.Join(dir, name), old, old))
		}
	}, func(folder string) bool {
		if filepath.Base(folder) == "gate" { // holds the watch up
			gate.Lock()
			defer gate.Unlock()
		}
		return false
	}, "src")
	gate.Lock()
	must(t, os.Mkdir(r.path("src/gate"), 0o755))
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var events int
	_, err = fmt.Sscan(string(limit), &events)
	must(t, err)
	busy, err := os.OpenFile(r.path("src/busy"), os.O_WRONLY, 0)
	must(t, err)
	defer busy.Close()
	for range events/2 + 5000 { // two events, of which no two in a row are the same; what fsnotify has read goes beside the queue
		_, err := busy.WriteAt([]byte("x"), 0)
		must(t, errors.Join(err, busy.Chmod(0o600)))
	}
	must(t, os.Chmod(r.path("src/one/changed"), 0o600))
	must(t, os.Remove(r.path("src/one/gone")))
	must(t, os.RemoveAll(r.path("src/folder")))
	r.write("src/one/fresh")
	r.write("src/tree/deep/file")
	gate.Unlock()
	r.told("src/busy", "src/one/changed", "src/one/gone", "src/folder", "src/folder/x", "src/one/fresh", "src/tree/deep/file")
	r.write("src/tree/deep/file") // it is watched again
	r.told("src/tree/deep/file")
}

// Another selection is watched without a gap, and what is merely watched anew has not changed.
func TestReset(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(dir string) {
		for _, name := range []string{"src/a", "more/b", "src/skipped/c"} {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		}
	}, func(folder string) bool { return filepath.Base(folder) == "skipped" }, "src")
	next := Selection{Roots: []string{r.path("src"), r.path("more")}, Skips: keepAll, Wants: func(string) bool { return true }}
	must(t, r.w.Reset(context.Background(), next))
	r.write("more/b2")
	r.write("src/skipped/c2")
	r.told("more/b2", "src/skipped/c2")
	r.silent("more/b", "src/skipped/c")
}

// A burst of changes is few batches, however long it lasts.
func TestBurst(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	w, err := New(Selection{Roots: []string{dir}, Skips: keepAll, Wants: func(string) bool { return true }})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	batches, ended := make(chan Batch), make(chan error)
	go func() { ended <- w.Run(ctx, batches) }()
	const files = 500
	began := time.Now()
	go func() {
		for i := range files {
			_ = os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644)
		}
	}()
	seen, n := map[string]bool{}, 0
	for len(seen) < files {
		n++
		for path := range <-batches {
			seen[path] = true
		}
	}
	// Silences of a loaded machine may cut a burst into pieces, but a batch is never a handful of files of it: each takes 40 ms
	// at least.
	if most := int(time.Since(began)/shortQuiet) + 1; n > most {
		t.Errorf("%d files were told in %d batches", files, n)
	}
	cancel()
	must(t, <-ended)
	must(t, w.Close())
}

// The limit of the kernel is said with its name, its value and what is wanted. It is lowered in a user namespace of its own.
func TestLimits(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("TREEWATCH_LIMITED"); dir != "" {
		must(t, os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("5"), 0))
		_, err := New(Selection{Roots: []string{dir}, Skips: keepAll, Wants: func(string) bool { return true }})
		limit, ok := errors.AsType[*LimitError](err)
		if !ok || limit.Wanted != 21 || limit.Setting != "fs.inotify.max_user_watches" {
			t.Fatalf("the error is %v", err)
		}
		return
	}
	dir := t.TempDir()
	for i := range 20 {
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o755))
	}
	must(t, os.Chmod(dir, 0o755))
	cmd := exec.Command(os.Args[0], "-test.run=^TestLimits$", "-test.v")
	cmd.Env = append(slices.Clone(os.Environ()), "TREEWATCH_LIMITED="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestLimitError(t *testing.T) {
	t.Parallel()
	err := &LimitError{Setting: "fs.inotify.max_user_watches", Now: "8192", Wanted: 600_000}
	want := "the kernel lets nobody watch more files: fs.inotify.max_user_watches is 8192, and 600000 folders are to be watched here — raise it with `sudo sysctl fs.inotify.max_user_watches=4194304`, or have folders ignored that need not be watched"
	if err.Error() != want {
		t.Errorf("it says %q", err)
	}
}
