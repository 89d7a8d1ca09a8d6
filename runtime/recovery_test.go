package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/statefile"
)

// again is a Runtime over the same state, as after a restart of the engine; the
// reaper stands for the keeper, which stays.
func again(t *testing.T, r *Runtime) *Runtime {
	t.Helper()
	next, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	return next
}

func TestLoad(t *testing.T) {
	t.Parallel()
	ctx, r := testContext(t), newRuntime(t)
	s := testSpec(rootfs(t), "sleep", "1000")
	if err := SetCapabilities(s, []string{"NET_ADMIN"}, nil); err != nil {
		t.Fatal(err)
	}
	old := start(t, r, s, CreateOptions{Groups: []string{"extra"}})
	c, err := again(t, r).Load(old.ID())
	if err != nil {
		t.Fatal(err)
	}
	if s := c.State(); s.Status != StatusRunning || s.Pid != old.Pid() || !s.Created.Equal(old.State().Created) {
		t.Fatalf("%+v", s)
	}
	out, _ := execute(t, c, process("sh", "-c", "id; cat /proc/self/status"))
	if got := status(out); got["CapEff"] != "00000000a80435fb" || got["Seccomp"] != "2" || !strings.Contains(out, "1002(extra)") {
		t.Fatal(out)
	}
	if err := c.Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Wait(ctx); err != nil || s.Code != 137 {
		t.Fatalf("%+v, %v", s, err)
	}
	c, err = again(t, r).Load(old.ID())
	if err != nil {
		t.Fatal(err)
	}
	if s := c.State(); s.Status != StatusStopped {
		t.Fatalf("%+v", s)
	}
	if s, err := c.Wait(ctx); err != nil || s.Code != 137 {
		t.Fatalf("Wait of a stopped container: %+v, %v", s, err)
	}
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Load(old.ID()); !errors.Is(err, ErrNoContainer) {
		t.Fatal(err)
	}
}

// A process that has the pid by chance is not the container's.
func TestLoadChecksStartTime(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	st := c.state
	st.Pid = os.Getpid()
	if err := statefile.Write(r.stateFile(c.ID()), &st); err != nil {
		t.Fatal(err)
	}
	other, err := again(t, r).Load(c.ID())
	if err != nil {
		t.Fatal(err)
	}
	if s := other.State(); s.Status != StatusStopped {
		t.Fatalf("%+v", s)
	}
	if err := other.Kill(syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
		t.Fatal(err)
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	ctx, r := testContext(t), newRuntime(t)
	known := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	lost := start(t, r, testSpec(rootfs(t), "sh", "-c", "sleep 1000 & sleep 1000"), CreateOptions{})
	// A crash between the cgroup and the clone leaves a cgroup alone.
	if err := r.cgroups.Manager(r.cfg.CgroupParent + "/half-made").Create(nil); err != nil {
		t.Fatal(err)
	}
	names, err := r.Orphans([]string{known.ID()})
	slices.Sort(names)
	want := []string{lost.ID(), "half-made"}
	slices.Sort(want)
	if err != nil || !slices.Equal(names, want) {
		t.Fatalf("%v, %v; want %v", names, err, want)
	}
	for range 2 {
		if err := r.RemoveOrphans(ctx, []string{known.ID()}); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err := r.List(); err != nil || !slices.Equal(ids, []string{known.ID()}) {
		t.Fatalf("%v, %v", ids, err)
	}
	if !exited(lost.pidfd) || known.State().Status != StatusRunning {
		t.Fatal("the wrong container was removed")
	}
	if err := r.RemoveParent(); err != nil {
		t.Fatal(err)
	}
	if names, err := r.Orphans(nil); err != nil || !slices.Equal(names, []string{known.ID()}) {
		t.Fatalf("after RemoveParent: %v, %v", names, err)
	}
}

// In the host's pid namespace the end of the first process ends nobody else: the cgroup does.
func TestHostPidNamespace(t *testing.T) {
	t.Parallel()
	ctx, r := testContext(t), newRuntime(t)
	s := testSpec(rootfs(t), "sh", "-c", "(trap '' TERM; sleep 1000 & sleep 1000) & echo started; sleep 1000")
	ShareNamespace(s, specs.PIDNamespace, "")
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // opened for reading
	c := start(t, r, s, CreateOptions{Stdio: Stdio{Stdout: w}})
	_ = w.Close()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if x, status := execute(t, c, process("true")); status.Code != 0 {
		t.Fatal(x, status)
	}
	if err := c.KillAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if pids, err := c.Pids(); err != nil || len(pids) > 0 {
		t.Fatalf("left behind: %v, %v", pids, err)
	}
}

// A container can live in the pid, network and ipc namespaces of another.
func TestSharedNamespaces(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	first := start(t, r, testSpec(root, "sleep", "1000"), CreateOptions{})
	s := testSpec(root, "sh", "-c", "for n in pid net ipc; do readlink /proc/self/ns/$n; done; grep Seccomp: /proc/self/status")
	want := ""
	for kind, name := range map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc",
	} {
		ShareNamespace(s, kind, "/proc/"+strconv.Itoa(first.Pid())+"/ns/"+name)
	}
	for _, name := range []string{"pid", "net", "ipc"} {
		link, err := os.Readlink("/proc/" + strconv.Itoa(first.Pid()) + "/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		want += link + "\n"
	}
	if out, _ := run(t, r, s); !strings.HasPrefix(out, want) {
		t.Fatalf("%s, want %s", out, want)
	}
}

// With init the program is not pid 1: signals reach it, orphans are reaped.
func TestInit(t *testing.T) {
	t.Parallel()
	ctx, r, root := testContext(t), newRuntime(t), rootfs(t)
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // opened for reading
	s := testSpec(root, "sh", "-c", "echo pid $$; (sleep 0.01 &); trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.02; done")
	s.Process.User.Username = "app"
	c := start(t, r, s, CreateOptions{Init: true, Stdio: Stdio{Stdout: w}})
	_ = w.Close()
	lines := bufio.NewScanner(out)
	lines.Scan()
	if lines.Text() == "pid 1" {
		t.Fatal("the program is pid 1")
	}
	lines.Scan()
	x, _ := execute(t, c, process("sh", "-c", "cat /proc/1/status; cat /proc/1/cmdline | tr '\\0' ' '"))
	got := status(x)
	if got["CapEff"] != "0000000000000000" || got["Seccomp"] != "2" || !strings.HasPrefix(got["Uid"], "1000") || !strings.Contains(x, "tutti-reaper sh") {
		t.Fatal(x)
	}
	if err := c.Kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Wait(ctx); err != nil || s.Code != 9 {
		t.Fatalf("%+v, %v", s, err)
	}
	lines.Scan()
	if lines.Text() != "term" {
		t.Fatal(lines.Text())
	}
	c = start(t, r, testSpec(root, "sh", "-c", "kill -KILL $$"), CreateOptions{Init: true})
	if s, err := c.Wait(ctx); err != nil || s.Code != 137 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// parentReaper gives containers to this process's parent and tells it the pid.
type parentReaper struct{ *LocalReaper }

func (parentReaper) CloneFlags() uintptr { return unix.CLONE_PARENT }
func (parentReaper) Register(_ string, pid int) error {
	_, err := fmt.Println(pid)
	return err
}

const engineEnv = "TUTTI_TEST_ENGINE"

// engine is this test binary standing in for the engine: it starts a container
// whose parent is the test, and is gone.
func engine(dir string) error {
	r, err := New(Config{Dir: dir + "/run", CgroupParent: os.Getenv(engineEnv), Reaper: parentReaper{}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := testSpec(dir+"/rootfs", "sh", "-c", "sleep 0.1; exit 42")
	c, err := r.Create(ctx, "c1", s, CreateOptions{})
	if err != nil {
		return err
	}
	return c.Start(ctx)
}

// With CLONE_PARENT a container outlives the engine as the keeper's child.
func TestCloneParent(t *testing.T) {
	t.Parallel()
	root := rootfs(t)
	dir := root[:strings.LastIndexByte(root, '/')]
	r := newRuntime(t)
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), engineEnv+"="+r.cfg.CgroupParent)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cfg.Reaper.Register("c1", pid); err != nil { // it is our child
		t.Fatal(err)
	}
	s, err := r.cfg.Reaper.Wait(testContext(t), "c1")
	if err != nil || s.Code != 42 {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := r.RemoveOrphans(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
}
