package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A container's group is where the spec wants it: below the runtime's own, or anywhere in the tree; never above.
func TestCgroupsPath(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	parent := r.cfg.CgroupParent
	elsewhere := "/tutti-elsewhere-" + random()
	t.Cleanup(func() { _ = r.cgroups.RemoveParent(elsewhere) })
	for path, want := range map[string]string{
		"group/of/mine": parent + "/group/of/mine", "../../../up": parent + "/up", elsewhere + "/it": elsewhere + "/it",
	} {
		s := testSpec(rootfs(t), "sleep", "1000")
		s.Linux.CgroupsPath = path
		c := start(t, r, s, CreateOptions{})
		if got := c.state.Cgroup; got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
		if pids, err := r.cgroups.Manager(want).Pids(); err != nil || !slices.Contains(pids, c.Pid()) {
			t.Errorf("%q: processes %v, %v", path, pids, err)
		}
		if err := c.Delete(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"/", parent, "."} {
		s := testSpec(rootfs(t), "true")
		s.Linux.CgroupsPath = path
		if c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("%q was accepted", path)
			_ = c.Delete(testContext(t))
		}
	}
	if err := r.RemoveParent(); err != nil { // with what is left of group/of
		t.Error(err)
	}
}

// Orphans are found wherever their groups are, and neighbours of containers that are known stay.
func TestOrphansOutside(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	elsewhere := "/tutti-elsewhere-" + random()
	t.Cleanup(func() { _, _ = r.cgroups.RemoveParent(elsewhere), r.RemoveParent() }) // groups between ours and containers'
	made := map[string]*Container{}
	for _, path := range []string{"shared/known", "shared/lost", elsewhere + "/lost"} {
		s := testSpec(rootfs(t), "sleep", "1000")
		s.Linux.CgroupsPath = path
		made[path] = start(t, r, s, CreateOptions{})
	}
	// As a crash leaves it before the state is written.
	if err := os.Remove(r.stateFile(made[elsewhere+"/lost"].ID())); err != nil {
		t.Fatal(err)
	}
	if err := r.RemoveOrphans(testContext(t), []string{made["shared/known"].ID()}); err != nil {
		t.Error(err)
	}
	for path, c := range made {
		if c.alive() != (filepath.Base(path) == "known") {
			t.Errorf("%s: alive is %v", path, c.alive())
		}
	}
	if ids, err := r.List(); err != nil || !slices.Equal(ids, []string{made["shared/known"].ID()}) {
		t.Errorf("%v, %v", ids, err)
	}
}

// The engine's own group is nobody's orphan.
func TestLeafIsNoOrphan(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	leaf := r.cgroups.Manager(filepath.Join(r.cfg.CgroupParent, "tutti.keeper"))
	if err := leaf.Create(&specs.LinuxResources{}); err != nil {
		t.Fatal(err)
	}
	if names, err := r.Orphans(nil); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
	if err := leaf.Remove(testContext(t)); err != nil {
		t.Error(err)
	}
}
