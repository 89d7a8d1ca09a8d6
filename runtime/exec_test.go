package runtime

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func process(args ...string) *specs.Process {
	return &specs.Process{Args: args, Env: []string{"PATH=/bin"}}
}

func TestExec(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	spec := testSpec(rootfs(t), "sleep", "1000")
	spec.Hostname = "inside"
	c := start(t, r, spec, CreateOptions{})
	out, status := execute(t, c, process("sh", "-c", "hostname; readlink /proc/1/exe; cat /proc/self/cgroup; exit 3"))
	if status.Code != 3 || !strings.HasPrefix(out, "inside\n/bin/busybox\n") {
		t.Fatalf("%+v\n%s", status, out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, ":memory:") && line != "4:memory:/\n" && !strings.HasSuffix(line, ":memory:/\n") {
			t.Fatalf("not in the container's cgroup: %s", line)
		}
	}
	out, _ = execute(t, c, &specs.Process{Args: []string{"id"}, User: specs.User{Username: "app"}})
	if out != "uid=1000(app) gid=1001(apps) groups=1001(apps),1002(extra),1003(more)\n" {
		t.Fatalf("id as app: %s", out)
	}
}

func TestExecErrors(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	if _, err := c.Exec(testContext(t), "a", process("nothing"), Stdio{}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	if _, err := c.Exec(testContext(t), "a", process("/etc"), Stdio{}); !errors.Is(err, ErrPermission) {
		t.Fatalf("got %v, want ErrPermission", err)
	}
	if err := c.Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(testContext(t), "a", process("true"), Stdio{}); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("got %v, want ErrNotRunning", err)
	}
}

// The end of pid 1 ends processes that were executed later.
func TestExecEndsWithContainer(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	p, err := c.Exec(testContext(t), "a", process("sleep", "1000"), Stdio{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Wait(testContext(t)); err != nil || s.Signal != 9 {
		t.Fatalf("%+v, %v", s, err)
	}
}
