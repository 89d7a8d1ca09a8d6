package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func bind(source, dest string, options ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: dest, Options: append([]string{"rbind"}, options...)}
}

// The host's mount table is the same before, during and after a container.
func TestOverlayRoot(t *testing.T) {
	t.Parallel()
	r, lower := newRuntime(t), rootfs(t)
	dir := t.TempDir()
	o := overlay(t, dir, lower)
	w, output := pipe(t)
	o.Stdio = Stdio{Stdout: w, Stderr: w}
	s := testSpec(filepath.Join(dir, "root"), "sh", "-c", "echo new > /tmp/file; cat /tmp/file; mount | grep ' / '")
	c := create(t, r, s, o)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Error("the host sees the container's mounts")
	}
	if err := c.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if out := output(); !strings.HasPrefix(out, "new\noverlay on / type overlay") {
		t.Error(out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "upper/tmp/file")); err != nil || string(b) != "new\n" {
		t.Errorf("upper: %q, %v", b, err)
	}
}

// Options of mount(2) end at a page; the 127 layers that docker allows have long names.
func TestManyLayers(t *testing.T) {
	t.Parallel()
	r, lower := newRuntime(t), rootfs(t)
	dir := t.TempDir()
	layers := []string{}
	for i := range 126 {
		l := filepath.Join(dir, "a-rather-long-folder-name-for-layers-of-images", strconv.Itoa(i), "fs")
		if err := os.MkdirAll(l, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(l, fmt.Sprint("layer", i)), "", 0o644)
		layers = append(layers, l)
	}
	s := testSpec(filepath.Join(dir, "o/root"), "sh", "-c", "ls -d /layer* | wc -l")
	w, output := pipe(t)
	o := overlay(t, filepath.Join(dir, "o"), append(layers, lower)...)
	o.Stdio.Stdout = w
	c := start(t, r, s, o)
	if _, err := c.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if out := output(); out != "126\n" {
		t.Errorf("%s layers", out)
	}
}

func TestReadonlyRoot(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "sh", "-c", "touch /x; touch /dev/x && echo dev; touch /tmp/x && echo tmp; touch /dev/shm/x && echo shm")
	s.Root.Readonly = true
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"})
	out, _ := run(t, newRuntime(t), s)
	if out != "touch: /x: Read-only file system\ndev\ntmp\nshm\n" {
		t.Fatal(out)
	}
}

func TestBindMounts(t *testing.T) {
	t.Parallel()
	r, host := newRuntime(t), t.TempDir()
	put(t, filepath.Join(host, "file"), "content\n", 0o644)
	s := testSpec(rootfs(t), "sh", "-c", `
cat /new/folder/file /single/file /late/file
touch /new/folder/x || echo ro
echo changed > /single/file && echo rw
mount | grep -c 'on /new/folder .*(ro,.*nosuid\|on /new/folder .*(ro,nosuid'`)
	s.Mounts = append(s.Mounts,
		bind(host, "/new/folder", "ro", "nosuid"),
		bind(filepath.Join(host, "file"), "/single/file", "rprivate"),
		bind(host, "/late", "rro", "rslave"))
	out, _ := run(t, r, s)
	if out != "content\ncontent\ncontent\ntouch: /new/folder/x: Read-only file system\nro\nrw\n1\n" {
		t.Fatal(out)
	}
	if b, err := os.ReadFile(filepath.Join(host, "file")); err != nil || string(b) != "changed\n" {
		t.Fatalf("%q, %v", b, err)
	}
}

// Links of the image at or on the way to a mount target end inside the container,
// also those whose target does not exist yet.
func TestSymlinkedTargets(t *testing.T) {
	t.Parallel()
	r, host := newRuntime(t), t.TempDir()
	canary := t.TempDir()
	put(t, filepath.Join(host, "file"), "content\n", 0o644)
	root := rootfs(t)
	for link, target := range map[string]string{
		"abs": canary, "up": "../../../../../.." + canary, "dangling": "/made/by/link", "chain": "abs/deeper",
		"loop": "loop", "resolv": "../run/systemd/resolv.conf", "magic": "/proc/self/root" + canary,
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := testSpec(root, "sh", "-c", "cat /abs/a/file /up/b/file /dangling/c/file /chain/file /resolv; ls -d /made/by/link/c /run/systemd/resolv.conf")
	s.Mounts = append(s.Mounts, bind(host, "/abs/a"), bind(host, "/up/b"), bind(host, "/dangling/c"), bind(host, "/chain"),
		bind(filepath.Join(host, "file"), "/resolv"))
	out, _ := run(t, r, s)
	if out != strings.Repeat("content\n", 5)+"/made/by/link/c\n/run/systemd/resolv.conf\n" {
		t.Error(out)
	}
	if left, err := os.ReadDir(canary); err != nil || len(left) > 0 {
		t.Errorf("made on the host: %v, %v", left, err)
	}
	for _, dest := range []string{"/loop", "/magic", "/magic/x"} {
		s := testSpec(root, "true")
		s.Mounts = append(s.Mounts, bind(host, dest))
		if c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("a mount on %s was accepted", dest)
			_ = c.Delete(testContext(t))
		}
	}
	if left, err := os.ReadDir(canary); err != nil || len(left) > 0 {
		t.Errorf("made on the host: %v, %v", left, err)
	}
}

// An image with /proc or /sys as a link is refused (CVE-2019-19921, CVE-2023-27561,
// CVE-2023-28642), a missing one is made; nothing may be mounted inside /proc.
func TestProcTargets(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	for _, name := range []string{"proc", "sys"} {
		root := rootfs(t)
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		if _, status := run(t, r, testSpec(root, "true")); status.Code != 0 {
			t.Errorf("without /%s: %+v", name, status)
		}
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/tmp", filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		_, err := r.Create(testContext(t), "c"+random(), testSpec(root, "true"), CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), "/"+name+" of the image is a symbolic link") {
			t.Errorf("/%s as a link: %v", name, err)
		}
	}
	for _, dest := range []string{"/proc", "/proc/self/attr", "/proc/../proc/sys", "/proc/1"} {
		s := testSpec(rootfs(t), "true")
		s.Mounts = append(s.Mounts, bind(t.TempDir(), dest))
		if _, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("a mount on %s was accepted", dest)
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	if err := os.Symlink("/srv/data", filepath.Join(root, "current")); err != nil {
		t.Fatal(err)
	}
	s := testSpec(root, "sh", "-c", "pwd; stat -c '%u %g %a' .; touch file")
	s.Process.Cwd, s.Process.User.Username = "/current/sub", "app"
	out, status := run(t, r, s)
	if out != "/srv/data/sub\n1000 1001 755\n" || status.Code != 0 {
		t.Fatalf("%+v\n%s", status, out)
	}
}

// A tmpfs over a folder of the image keeps the folder's mode.
func TestTmpfsMode(t *testing.T) {
	t.Parallel()
	root := rootfs(t)
	if err := os.Mkdir(filepath.Join(root, "data"), 0o711); err != nil {
		t.Fatal(err)
	}
	s := testSpec(root, "stat", "-c", "%a", "/data", "/new", "/set")
	for dest, option := range map[string]string{"/data": "nosuid", "/new": "nosuid", "/set": "mode=700"} {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs", Options: []string{option}})
	}
	if out, _ := run(t, newRuntime(t), s); out != "711\n1777\n700\n" {
		t.Fatal(out)
	}
}

// A shared propagation of the root lets a bind mount share with the host, and
// still nothing of the container's own mounts reaches the host.
func TestSharedPropagation(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "sh", "-c", "mount | wc -l")
	s.Linux.RootfsPropagation = "shared"
	s.Mounts = append(s.Mounts, bind(t.TempDir(), "/shared", "rshared"))
	out, status := run(t, newRuntime(t), s)
	if status.Code != 0 {
		t.Fatal(out, status)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), s.Root.Path) {
		t.Fatal("the host sees the container's mounts", err)
	}
}
