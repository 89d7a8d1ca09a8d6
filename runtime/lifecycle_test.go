package runtime

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for script, want := range map[string]ExitStatus{
		"exit 0":        {},
		"exit 7":        {Code: 7},
		"exit 255":      {Code: 255},
		"kill -TERM $$": {}, // pid 1 has no default action
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			_, got := run(t, r, testSpec(root, "sh", "-c", script))
			if got.Code != want.Code || got.Signal != want.Signal || got.At.IsZero() {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	ctx, r := testContext(t), newRuntime(t)
	c := create(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	if s := c.State(); s.Status != StatusCreated || s.Pid != c.Pid() {
		t.Fatalf("after Create: %+v", s)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if s := c.State(); s.Status != StatusRunning {
		t.Fatalf("after Start: %+v", s)
	}
	if err := c.Start(ctx); err == nil {
		t.Fatal("a second Start succeeded")
	}
	if ids, err := r.List(); err != nil || !slices.Equal(ids, []string{c.ID()}) {
		t.Fatalf("List: %v, %v", ids, err)
	}
	if err := c.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if s := c.State(); s.Status != StatusPaused {
		t.Fatalf("after Pause: %+v", s)
	}
	if _, err := c.Exec(ctx, "x", &specs.Process{Args: []string{"true"}}, Stdio{}); !errors.Is(err, ErrPaused) {
		t.Fatalf("Exec while paused: %v, want ErrPaused", err)
	}
	if err := c.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Wait(ctx); err != nil || got.Code != 137 || got.Signal != 9 {
		t.Fatalf("Wait: %+v, %v", got, err)
	}
	if s := c.State(); s.Status != StatusStopped || s.Pid != 0 {
		t.Fatalf("after Wait: %+v", s)
	}
	if err := c.Kill(syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Kill after the end: %v, want ErrNotRunning", err)
	}
	for range 2 {
		if err := c.Delete(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Load(c.ID()); !errors.Is(err, ErrNoContainer) {
		t.Fatalf("Load after Delete: %v, want ErrNoContainer", err)
	}
}

func TestDeletePaused(t *testing.T) {
	t.Parallel()
	ctx, r := testContext(t), newRuntime(t)
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	if err := c.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	put(t, root+"/bin/plain", "", 0o644)
	put(t, root+"/bin/garbage", "no program", 0o755)
	for _, init := range []bool{false, true} {
		for arg, want := range map[string]struct {
			is   error
			code int
			text string
		}{
			"nothing":      {ErrNotFound, 127, "nothing: executable file not found in $PATH"},
			"/bin/nothing": {ErrNotFound, 127, "/bin/nothing: no such file or directory"},
			"plain":        {ErrPermission, 126, "plain: permission denied"},
			"/etc":         {ErrPermission, 126, "/etc: permission denied"},
			"garbage":      {ErrPermission, 126, "garbage: exec format error"},
		} {
			c := create(t, r, testSpec(root, arg), CreateOptions{Init: init})
			err := c.Start(testContext(t))
			if !errors.Is(err, want.is) || ExitCode(err) != want.code || !strings.Contains(err.Error(), want.text) {
				t.Errorf("Start of %s (init %v): %v, want %v with %q", arg, init, err, want.is, want.text)
			}
			if got, err := c.Wait(testContext(t)); err != nil || got.Code != want.code {
				t.Errorf("exit of %s (init %v): %+v, %v, want %d", arg, init, got, err, want.code)
			}
		}
	}
}

// What init cannot set up is the error of Create, with the step's name; nothing is left.
func TestCreateErrors(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for name, c := range map[string]struct {
		change func(*specs.Spec)
		want   string
	}{
		"missing source": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/does/not/exist", Options: []string{"rbind"}})
		}, "mount /does/not/exist on /x: no such file or directory"},
		"missing namespace": {func(s *specs.Spec) {
			s.Linux.Namespaces[1].Path = "/proc/self/ns/none"
		}, "open namespace /proc/self/ns/none"},
		"missing root": {func(s *specs.Spec) { s.Root.Path = "/does/not/exist" }, "bind root /does/not/exist"},
		"unknown user": {func(s *specs.Spec) { s.Process.User.Username = "nobody" }, "unable to find user nobody"},
		"host sysctl":  {func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} }, "sysctl kernel.panic"},
		"no arguments": {func(s *specs.Spec) { s.Process.Args = nil }, "process.args is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testSpec(root, "true")
			c.change(s)
			_, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Cleanup(func() {
		if ids, err := r.List(); err != nil || len(ids) > 0 {
			t.Errorf("containers left behind: %v, %v", ids, err)
		}
	})
}

func TestCreateExisting(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	c := start(t, r, testSpec(root, "sleep", "1000"), CreateOptions{})
	if _, err := r.Create(testContext(t), c.ID(), testSpec(root, "true"), CreateOptions{}); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	if s := c.State(); s.Status != StatusRunning {
		t.Fatalf("the first container is %v", s.Status)
	}
	for _, id := range []string{"", ".", "..", "a/b", "-x"} {
		if _, err := r.Create(testContext(t), id, testSpec(root, "true"), CreateOptions{}); err == nil {
			t.Errorf("ID %q was accepted", id)
		}
	}
}

// A created container whose engine is gone must not stay: the end of the socket ends it.
func TestCreatedContainerEndsWithItsEngine(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	c := create(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	c.mu.Lock()
	c.ctl.close()
	c.ctl = nil
	c.mu.Unlock()
	if _, err := c.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestCreateCancelled(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Create(ctx, "c"+random(), testSpec(rootfs(t), "true"), CreateOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if _, err := os.Stat(r.cfg.Dir); err != nil {
		t.Fatal(err)
	}
}
