package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tools is a folder with what the guest needs: the binary, the tests' programs, an image.
func tools(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, pkg := range map[string]string{"cgroup.test": "tutti/runtime/cgroup", "runtime.test": "tutti/runtime"} {
		build(t.Context(), t, pkg, filepath.Join(dir, name))
	}
	binary, err := filepath.Abs("../../bin/tutti")
	if err != nil {
		t.Fatal(err)
	}
	if !isFile(binary) {
		t.Fatalf("%s is missing: run `make build` first", binary)
	}
	archives, err := exec.Command("../base-images/base-images.sh", "bootstrap").Output()
	if err != nil {
		t.Fatalf("base images: %v", err)
	}
	busybox := filepath.Join(string(archives[:len(archives)-1]), "busybox.tar")
	for _, from := range []string{binary, busybox} {
		if err := os.Link(from, filepath.Join(dir, filepath.Base(from))); err != nil {
			command(t, "cp", from, dir)
		}
	}
	return dir
}

// The runtime's own tests, on cgroup v2 beside systemd.
func TestUnified(t *testing.T) {
	m := newMachine(t, "", tools(t))
	t.Log(m.must("uname -a; cat /proc/uptime; systemd-analyze; mount | grep cgroup; cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/cgroup.subtree_control"))
	t.Run("cgroup", func(t *testing.T) { m.tests(t, "/root/runtime/cgroup", "cgroup.test", "") })
	t.Run("runtime", func(t *testing.T) { m.tests(t, "/root/runtime", "runtime.test", "") })
}
