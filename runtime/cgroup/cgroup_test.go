package cgroup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		panic("the tests of package cgroup must run as root")
	}
	os.Exit(m.Run())
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// managers returns a new group of every kind that this host has: v1, v2, or in a
// hybrid layout both, where v2 has no controllers.
func managers(t *testing.T) map[string]Manager {
	t.Helper()
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	parent := "/tutti-cgtest-" + hex.EncodeToString(b)
	all := map[string]Manager{}
	if h.Version() == 1 {
		all["v1"] = h.Manager(parent + "/g")
	}
	unified := h.unified
	if unified == "" {
		unified = "/sys/fs/cgroup/unified"
	}
	if _, err := os.Stat(unified + "/cgroup.procs"); err == nil {
		all["v2"] = &v2{root: unified, path: parent + "/g"}
	}
	t.Cleanup(func() {
		for name, g := range all {
			if err := errors.Join(g.Kill(), g.Remove(testContext(t))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_ = os.Remove(filepath.Join(unified, parent))
		if err := h.RemoveParent(parent); err != nil {
			t.Error(err)
		}
		if left, err := h.Children(parent); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return all
}

// sleeper starts a process in the group; wait reaps it.
func sleeper(t *testing.T, g Manager, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/busybox", args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	for name, g := range managers(t) {
		if err := g.Create(&specs.LinuxResources{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := g.Create(nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: a second Create: %v", name, err)
		}
		cmd := sleeper(t, g, "sleep", "1000")
		if pids, err := g.Pids(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("%s: %v, %v", name, pids, err)
		}
		if err := g.Freeze(testContext(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if frozen, err := g.Frozen(); err != nil || !frozen {
			t.Errorf("%s: frozen %v, %v", name, frozen, err)
		}
		if err := g.Thaw(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if frozen, err := g.Frozen(); err != nil || frozen {
			t.Errorf("%s: thawed: frozen %v, %v", name, frozen, err)
		}
		if err := g.Freeze(testContext(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := g.Stats(); err != nil {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if err := g.Kill(); err != nil { // frozen
			t.Errorf("%s: %v", name, err)
		}
		_ = cmd.Wait()
		if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s: %v", name, cmd.ProcessState)
		}
		for range 2 {
			if err := g.Remove(testContext(t)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := g.Kill(); err != nil {
			t.Errorf("%s: Kill of a group that is gone: %v", name, err)
		}
	}
}

// Kill ends a fork bomb, Remove removes groups that somebody made below ours.
func TestKillForkBombAndNested(t *testing.T) {
	t.Parallel()
	for name, g := range managers(t) {
		if err := g.Create(&specs.LinuxResources{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		dir := g.Dir()
		if dir == "" {
			dir = filepath.Dir(g.Tasks()[0])
		}
		if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
		var all []*exec.Cmd
		for range 3 {
			all = append(all, sleeper(t, g, "sh", "-c", "while :; do (sleep 0.01 &) ; done"))
		}
		if err := g.Kill(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, cmd := range all {
			_ = cmd.Wait()
		}
		if err := g.Remove(testContext(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The rules of a container by their effect, in both versions' forms.
func TestDeviceRules(t *testing.T) {
	t.Parallel()
	n := func(v int64) *int64 { return &v }
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Major: n(1), Minor: n(3), Access: "rw"},
		{Allow: true, Type: "c", Major: n(1), Minor: n(5), Access: "r"},
		{Allow: true, Type: "c", Major: n(-1), Minor: n(-1), Access: "m"},
		{Allow: true, Type: "c", Major: n(1), Minor: n(7), Access: "rw"},
		{Allow: false, Type: "c", Major: n(1), Minor: n(7), Access: "w"},
	}
	script := `
(: < /dev/null) && echo null-r; (: > /dev/null) && echo null-w
(: < /dev/zero) && echo zero-r; (: > /dev/zero) && echo zero-w
(: < /dev/full) && echo full-r; (: > /dev/full) && echo full-w
(: < /dev/random) && echo random-r
mknod $0/c c 1 3 && echo mknod-c
mknod $0/b b 7 0 && echo mknod-b
true`
	for name, g := range managers(t) {
		if err := g.Create(&specs.LinuxResources{Devices: rules}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// Wait for a line, so that all happens inside the group.
		cmd := exec.Command("/bin/busybox", "sh", "-c", "read x\n"+script, t.TempDir())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := g.Add(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(out.String()), " ")
		if want := "null-r null-w zero-r full-r mknod-c"; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestDeviceRuleErrors(t *testing.T) {
	t.Parallel()
	for _, r := range []specs.LinuxDeviceCgroup{{Type: "x"}, {Access: "rx"}} {
		if _, err := deviceProgram([]specs.LinuxDeviceCgroup{r}); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}

func TestCPUWeight(t *testing.T) {
	t.Parallel()
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 512: 59, 1024: 100, 2048: 174, 262144: 10000, 1 << 40: 10000} {
		if got := cpuWeight(shares); got != want {
			t.Errorf("%d shares: weight %d, want %d", shares, got, want)
		}
	}
}

func TestSwapMax(t *testing.T) {
	t.Parallel()
	p := func(n int64) *int64 { return &n }
	for _, x := range []struct {
		limit, swap *int64
		want        string
	}{
		{p(100), p(100), "0"}, {p(100), p(300), "200"}, {p(100), p(-1), "max"}, {p(100), p(50), ""}, {nil, p(50), ""},
	} {
		got, err := swapMax(&specs.LinuxMemory{Limit: x.limit, Swap: x.swap})
		if got != x.want || (err == nil) != (x.want != "") {
			t.Errorf("%v %v: %q, %v", x.limit, x.swap, got, err)
		}
	}
}

// What a host lacks is an error that says so.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	for name, g := range managers(t) {
		err := g.Create(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}})
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v, want ErrUnsupported", name, err)
		}
		if pids, err := g.Pids(); err != nil || len(pids) > 0 {
			t.Errorf("%s: %v, %v", name, pids, err)
		}
		for _, size := range []string{"../../x", "a/b"} {
			if err := g.Create(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: size}}}); err == nil {
				t.Errorf("%s: page size %s was accepted", name, size)
			}
		}
	}
}

// This process is never in a list of processes to kill.
func TestPidsWithoutSelf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())+"\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pids, err := pidsBelow(dir); err != nil || !slices.Equal(pids, []int{1}) {
		t.Fatal(pids, err)
	}
}
