package oci

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rooted is a program that is the runtime with the place's root. --runtime-flag root=
// would not do: the podman that conmon starts at a container's end is not told of it,
// deletes a container of that name below the default root, finds none, and takes it
// for deleted; the next create then fails, with any runtime.
func (p *place) rooted() string {
	p.t.Helper()
	program := filepath.Join(p.dir, "rooted", Name)
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' --root '%s' \"$@\"\n", p.program, p.root)
	err := os.MkdirAll(filepath.Dir(program), 0o755)
	if err == nil {
		err = os.WriteFile(program, []byte(script), 0o755)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return program
}

// named tells whether a process's arguments name the place.
func (p *place) named() bool {
	p.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), p.dir) {
			return true
		}
	}
	return false
}

// podman is somebody else's program that drives a runtime: through conmon, which
// takes the terminal, the pid file and the exit code.
func TestPodman(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	conf := filepath.Join(p.dir, "containers.conf")
	err := os.WriteFile(conf, []byte("[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n"+
		"[engine]\nlock_type=\"file\"\nevents_logger=\"file\"\ncgroup_manager=\"cgroupfs\"\nimage_default_transport=\"oci:\"\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	podman := func(args ...string) result {
		t.Helper()
		cmd := exec.CommandContext(context.Background(), "podman", append([]string{
			"--root", p.dir + "/root", "--runroot", p.dir + "/runroot", "--tmpdir", p.dir + "/tmp", "--runtime", p.rooted(), "--storage-driver", "vfs",
		}, args...)...)
		cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+conf)
		return p.finish(cmd)
	}
	t.Cleanup(func() {
		if r := podman("rm", "--all", "--force", "--time", "0"); r.code != 0 {
			t.Error(r)
		}
		// conmon starts another podman at a container's end, which nobody waits for.
		waitFor(t, func() bool { return !p.named() })
	})
	tree := p.bundle(nil, "true") + "/rootfs"
	archive := filepath.Join(p.dir, "image.tar")
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", tree, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if r := podman("import", archive, "localhost/busybox"); r.code != 0 {
		t.Fatal(r)
	}
	run := func(args ...string) []string { return append([]string{"run", "--network", "none"}, args...) }
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{run("--rm", "localhost/busybox", "echo", "hello"), 0, "hello"},
		{run("--rm", "--read-only", "--cap-drop", "all", "--user", "5:6", "localhost/busybox", "id"), 0, "uid=5(5) gid=6(6)"},
		{run("--rm", "localhost/busybox", "sh", "-c", "exit 7"), 7, ""},
		{run("--rm", "localhost/busybox", "nosuch"), 127, ""},
		{run("--rm", "-t", "localhost/busybox", "ls", "-l", "/proc/self/fd/0"), 0, "/dev/pts/0"},
		{run("--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", "localhost/busybox", "cat", "/proc/self/uid_map"), 0, "100000"},
		{run("-d", "--name", "c", "-m", "64m", "localhost/busybox", "sleep", "1000"), 0, ""},
		{[]string{"exec", "-e", "A=b", "c", "env"}, 0, "A=b"},
		{[]string{"exec", "c", "sh", "-c", "exit 5"}, 5, ""},
		{[]string{"pause", "c"}, 0, "c"},
		{[]string{"ps", "--all", "--format", "{{.Status}}"}, 0, "Paused"},
		{[]string{"unpause", "c"}, 0, "c"},
		{[]string{"top", "c"}, 0, "sleep 1000"},
		{[]string{"stop", "--time", "0", "c"}, 0, "c"},
		{[]string{"inspect", "--format", "{{.State.ExitCode}}", "c"}, 0, "137"},
		{[]string{"start", "c"}, 0, "c"},
		{[]string{"rm", "--force", "--time", "0", "c"}, 0, "c"},
	} {
		if r := podman(c.args...); r.code != c.code || !strings.Contains(r.stdout, c.out) {
			t.Errorf("%s\nwant exit code %d and %q", r, c.code, c.out)
		}
	}
}
