package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Everything that this host says it can limit can be limited, and what it denies cannot.
func TestFeaturesAreTrue(t *testing.T) {
	t.Parallel()
	for name, g := range managers(t) {
		h, err := Detect()
		if err != nil {
			t.Fatal(err)
		}
		if name == "v2" && h.Version() == 1 {
			continue // a hierarchy without controllers, beside those of v1
		}
		path := filepath.Dir(pathOf(g))
		f, err := h.Features(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Create(&specs.LinuxResources{}); err != nil {
			t.Fatal(err)
		}
		n, u := int64(64<<20), uint64(50)
		w := uint16(100)
		for _, x := range []struct {
			what  string
			there bool
			res   specs.LinuxResources
		}{
			{"memory", f.Memory, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &n}}},
			{"swap", f.Swap, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &n, Swap: new(int64(96 << 20))}}},
			{"reservation", f.Reservation, specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: &n}}},
			{"shares", f.CPUShares, specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: new(uint64(512))}}},
			{"quota", f.CPUQuota, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(5000))}}},
			{"cpuset", f.Cpuset, specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}},
			{"pids", f.Pids, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(u))}}},
			{"weight", f.IOWeight, specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: &w}}},
		} {
			if err := g.Set(&x.res); (err == nil) != x.there {
				t.Errorf("%s: %s: said to be there: %v, and set: %v", name, x.what, x.there, err)
			}
		}
		if f.Cpuset {
			if list, err := ParseSet(f.CPUs); err != nil || len(list) == 0 {
				t.Errorf("%s: CPUs %q: %v", name, f.CPUs, err)
			}
		}
	}
}

func pathOf(g Manager) string {
	switch g := g.(type) {
	case *v1:
		return g.path
	case *v2:
		return g.path
	}
	return ""
}

func TestParseSet(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{"0": {0}, "0-3": {0, 1, 2, 3}, "5,1-2, 1": {1, 2, 5}} {
		if got, err := ParseSet(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "1-", "3-1", "-1", "1x", "0-99999999999", "0,,1", "1 2"} {
		if got, err := ParseSet(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// A group that holds processes cannot give controllers to groups below it: whoever asks for a limit there is told so.
func TestNoInternalProcesses(t *testing.T) {
	t.Parallel()
	g, ok := managers(t)["v2"].(*v2)
	if !ok {
		t.Fatal("there is no cgroup v2 hierarchy")
	}
	if err := g.Create(nil); err != nil {
		t.Fatal(err)
	}
	if controllers, _ := read(g.Dir(), "cgroup.controllers"); !strings.Contains(controllers, "memory") {
		return // a hybrid host: v1 has the controllers
	}
	cmd := sleeper(t, g, "sleep", "1000")
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	below := &v2{root: g.root, path: filepath.Join(g.path, "below")}
	n := int64(64 << 20)
	err := below.Create(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &n}})
	if err == nil || !strings.Contains(err.Error(), "processes are in "+g.Dir()+" itself") {
		t.Error(err)
	}
	if _, err := os.Stat(below.Dir()); err == nil {
		t.Error("a group that could not be limited stays")
	}
}

// Below a threaded group none can be made for a container.
func TestThreaded(t *testing.T) {
	t.Parallel()
	g, ok := managers(t)["v2"].(*v2)
	if !ok {
		t.Fatal("there is no cgroup v2 hierarchy")
	}
	threaded := filepath.Join(g.Dir(), "threaded")
	if err := os.MkdirAll(threaded, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := write(threaded, "cgroup.type", "threaded"); err != nil {
		t.Fatal(err)
	}
	below := &v2{root: g.root, path: filepath.Join(g.path, "threaded/below")}
	if err := below.Create(nil); err == nil || !strings.Contains(err.Error(), "threaded") {
		t.Error(err)
	}
}

func TestOwnPath(t *testing.T) {
	t.Parallel()
	g, ok := managers(t)["v2"].(*v2)
	if !ok {
		t.Fatal("there is no cgroup v2 hierarchy")
	}
	if err := g.Create(nil); err != nil {
		t.Fatal(err)
	}
	cmd := sleeper(t, g, "sleep", "1000")
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if path, err := OwnPath(cmd.Process.Pid); err != nil || path != g.path {
		t.Errorf("%q, %v; want %q", path, err, g.path)
	}
	if _, err := OwnPath(1 << 30); err == nil {
		t.Error("a process that is not there has a cgroup")
	}
}
