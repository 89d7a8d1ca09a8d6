package volumes

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// readOnly is what read-only binds have on this kernel.
func readOnly() string {
	if recursiveReadOnly() {
		return "rro"
	}
	return "ro"
}

func TestMounts(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := create(t, s, "vol")
	write(t, filepath.Join(v.Path, "sub/dir/file"), "")
	host := t.TempDir()
	if err := os.Symlink(host, filepath.Join(v.Path, "..", "link")); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]map[string]string{
		"nfs":  {"type": "nfs", "o": "addr=10.0.0.7,rw,nfsvers=4", "device": ":/export"},
		"ram":  {"type": "tmpfs", "o": "size=64m,uid=1000", "device": "tmpfs"},
		"bind": {"type": "none", "o": "bind,nosuid", "device": host},
		"lost": {"type": "none", "o": "bind", "device": filepath.Join(host, "missing")},
	} {
		if _, _, err := s.Create(Spec{Name: name, DriverOpts: o}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		in   Mount
		typ  string
		from string
		opts string
		err  string
	}{
		{name: "volume", in: Mount{Type: TypeVolume, Source: "vol"}, typ: "bind", from: v.Path, opts: "rbind rprivate"},
		{name: "read-only", in: Mount{Type: TypeVolume, Source: "vol", ReadOnly: true}, typ: "bind", from: v.Path, opts: "rbind " + readOnly() + " rprivate"},
		{name: "subpath", in: Mount{Type: TypeVolume, Source: "vol", Subpath: "sub/dir"}, typ: "bind", from: v.Path + "/sub/dir", opts: "rbind rprivate"},
		{name: "subpath missing", in: Mount{Type: TypeVolume, Source: "vol", Subpath: "no"}, err: `subpath "no" of volume "vol"`},
		{name: "subpath up", in: Mount{Type: TypeVolume, Source: "vol", Subpath: "sub/../.."}, err: "no '..' in it"},
		{name: "subpath absolute", in: Mount{Type: TypeVolume, Source: "vol", Subpath: "/etc"}, err: "relative path"},
		{name: "no volume", in: Mount{Type: TypeVolume, Source: "none"}, err: `does not exist: "none"`},
		{name: "nfs", in: Mount{Type: TypeVolume, Source: "nfs", ReadOnly: true}, typ: "nfs", from: ":/export", opts: "addr=10.0.0.7 nfsvers=4 ro"},
		{name: "ram", in: Mount{Type: TypeVolume, Source: "ram"}, typ: "tmpfs", from: "tmpfs", opts: "size=64m uid=1000"},
		{name: "ram subpath", in: Mount{Type: TypeVolume, Source: "ram", Subpath: "x"}, err: "not possible with driver_opts"},
		{name: "bind volume", in: Mount{Type: TypeVolume, Source: "bind"}, typ: "bind", from: host, opts: "rbind rprivate nosuid"},
		{name: "lost folder", in: Mount{Type: TypeVolume, Source: "lost"}, err: "must exist"},
		{name: "bind", in: Mount{Type: TypeBind, Source: host}, typ: "bind", from: host, opts: "rbind rprivate"},
		{name: "bind by symlink", in: Mount{Type: TypeBind, Source: filepath.Join(s.dir, "vol/link")}, typ: "bind", from: host, opts: "rbind rprivate"},
		{name: "bind missing", in: Mount{Type: TypeBind, Source: host + "/x"}, err: "create it, or set create_host_path"},
		{name: "bind relative", in: Mount{Type: TypeBind, Source: "x"}, err: "absolute"},
		{name: "bind created", in: Mount{Type: TypeBind, Source: host + "/a/b", CreateHostPath: true}, typ: "bind", from: host + "/a/b", opts: "rbind rprivate"},
		{name: "not recursive", in: Mount{Type: TypeBind, Source: host, Recursive: "disabled", ReadOnly: true}, typ: "bind", from: host, opts: "bind ro rprivate"},
		{name: "writable below", in: Mount{Type: TypeBind, Source: host, Recursive: "writable", ReadOnly: true}, typ: "bind", from: host, opts: "rbind ro rprivate"},
		{name: "recursive", in: Mount{Type: TypeBind, Source: host, Recursive: "sometimes"}, err: "bind.recursive"},
		{name: "propagation", in: Mount{Type: TypeBind, Source: host, Propagation: "upwards"}, err: "bind.propagation"},
		{name: "private", in: Mount{Type: TypeBind, Source: host, Propagation: "private"}, typ: "bind", from: host, opts: "rbind private"},
		{name: "tmpfs", in: Mount{Type: TypeTmpfs}, typ: "tmpfs", from: "tmpfs", opts: "noexec nosuid nodev rprivate"},
		{name: "tmpfs long", in: Mount{Type: TypeTmpfs, Size: 4096, Mode: 0o1770, ReadOnly: true}, typ: "tmpfs", from: "tmpfs", opts: "noexec nosuid nodev rprivate size=4096 mode=1770 ro"},
		{name: "tmpfs short", in: Mount{Type: TypeTmpfs, Options: []string{"exec,size=1m", "size=2m", "uid=5"}}, typ: "tmpfs", from: "tmpfs", opts: "nosuid nodev rprivate exec size=2m uid=5"},
		{name: "tmpfs wrong", in: Mount{Type: TypeTmpfs, Options: []string{"sise=1m"}}, err: `unknown option "sise=1m"`},
		{name: "tmpfs injection", in: Mount{Type: TypeTmpfs, Options: []string{"rshared"}}, err: "unknown option"},
		{name: "type", in: Mount{Type: "npipe"}, err: `type "npipe" is not supported`},
	} {
		c.in.Target = "/t"
		got, err := s.Mounts(t.Context(), []Mount{c.in})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		want := []specs.Mount{{Destination: "/t", Type: c.typ, Source: c.from, Options: strings.Fields(c.opts)}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, dir := range []string{"a", "a/b"} {
		if info, err := os.Stat(filepath.Join(host, dir)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("created %s: %v, %v", dir, info, err)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	s := open(t)
	tmpfs := func(targets ...string) ([]specs.Mount, error) {
		var list []Mount
		for _, target := range targets {
			list = append(list, Mount{Type: TypeTmpfs, Target: target})
		}
		return s.Mounts(t.Context(), list)
	}
	for _, target := range []string{"", "/", "relative", "/..", "/a\x00"} {
		if _, err := tmpfs(target); !errors.Is(err, ErrMount) {
			t.Errorf("%q: %v", target, err)
		}
	}
	if _, err := tmpfs("/a", "/b", "/a/../a/"); err == nil || !strings.Contains(err.Error(), "two mounts on /a") {
		t.Errorf("twice: %v", err)
	}
	got, err := tmpfs("/a/b/c", "/z", "/a/b", "/a", "/b/c")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range got {
		order = append(order, m.Destination)
	}
	if want := []string{"/z", "/a", "/a/b", "/b/c", "/a/b/c"}; !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	s, root := open(t), richImage(t)
	for _, name := range []string{"one", "two", "three"} {
		create(t, s, name)
	}
	err := s.Fill(t.Context(), []Mount{
		{Type: TypeVolume, Source: "one", Target: "/srv/data"},
		{Type: TypeVolume, Source: "two", Target: "/srv/data", NoCopy: true},
		{Type: TypeVolume, Source: "three", Target: "/nothing"},
		{Type: TypeTmpfs, Target: "/srv/data"},
	}, []string{root})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"one": 6, "two": 0, "three": 0} {
		if list, _ := os.ReadDir(s.path(name, dataDir)); len(list) != want {
			t.Errorf("%s has %v", name, list)
		}
	}
}

// A container that shares the volume must not lead another one's subpath to the host.
func TestHostileSubpath(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := create(t, s, "vol")
	write(t, filepath.Join(v.Path, "real/file"), "")
	for name, target := range map[string]string{"abs": "/etc", "up": "../../..", "fine": "real", "deep": "fine"} {
		if err := os.Symlink(target, filepath.Join(v.Path, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"abs", "up", "up/etc", "abs/ssl"} {
		if got, err := s.Mounts(t.Context(), []Mount{{Type: TypeVolume, Source: "vol", Target: "/t", Subpath: sub}}); err == nil || !strings.Contains(err.Error(), "leads out") {
			t.Errorf("%s: %v, %v", sub, got, err)
		}
	}
	got, err := s.Mounts(t.Context(), []Mount{{Type: TypeVolume, Source: "vol", Target: "/t", Subpath: "deep"}})
	if err != nil || got[0].Source != v.Path+"/real" {
		t.Errorf("%v, %v", got, err)
	}
}

// inMountNamespace starts a process that has run the script in its own mount
// namespace and waits, and returns its pid.
func inMountNamespace(t *testing.T, script string, args ...string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-ec", script + "\necho ready; exec cat"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS} // no Pdeathsig: it is the thread whose death would count
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if _, err := stdout.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestVerify(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := create(t, s, "vol")
	write(t, filepath.Join(v.Path, "sub/file"), "")
	target := t.TempDir()
	mounts, err := s.Mounts(t.Context(), []Mount{
		{Type: TypeVolume, Source: "vol", Target: "/t", Subpath: "sub"}, {Type: TypeVolume, Source: "vol", Target: "/whole"},
	})
	if err != nil {
		t.Fatal(err)
	}
	good := inMountNamespace(t, `mount --bind "$0" "$1"`, mounts[0].Source, target)
	if err := s.Verify(good, mounts); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(v.Path, "sub"), filepath.Join(v.Path, "away")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(v.Path, "sub")); err != nil {
		t.Fatal(err)
	}
	bad := inMountNamespace(t, `mount --bind "$0" "$1"`, mounts[0].Source, target)
	if err := s.Verify(bad, mounts); !errors.Is(err, ErrMount) {
		t.Errorf("a swapped subpath: %v", err)
	}
}

func TestRootfsPropagation(t *testing.T) {
	t.Parallel()
	for want, options := range map[string][]string{"": {"rprivate"}, "rslave": {"rslave"}, "rshared": {"shared"}} {
		if got := RootfsPropagation([]specs.Mount{{Options: []string{"rbind", "slave"}}, {Options: options}}); want != "" && got != want {
			t.Errorf("%v: %q", options, got)
		}
		if got := RootfsPropagation([]specs.Mount{{Options: options}}); got != want {
			t.Errorf("%v: %q", options, got)
		}
	}
}

func TestPropagationNeedsASharedMount(t *testing.T) {
	t.Parallel()
	for optional, allowed := range map[string][]string{
		"": {}, "shared:5": {"shared", "rshared", "slave", "rslave"}, "master:5": {"slave", "rslave"}, "unbindable": {},
	} {
		for _, p := range []string{"shared", "rshared", "slave", "rslave"} {
			if got := takesPart(optional, p); got != slices.Contains(allowed, p) {
				t.Errorf("%s on %q: %t", p, optional, got)
			}
		}
	}
	if m, err := mountOf("/proc/self/status"); err != nil || m.FSType != "proc" {
		t.Errorf("mount of a file in /proc: %+v, %v", m, err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir, host := filepath.Join(t.TempDir(), "secrets"), t.TempDir()
	write(t, filepath.Join(host, "token"), "from the host")
	mode, uid, gid := uint32(0o4440), 1000, 1001
	files := []File{
		{Name: `secret "env"`, Target: SecretTarget("env", ""), Content: []byte("s3cret")},
		{Name: `secret "file"`, Target: SecretTarget("file", "renamed"), Source: filepath.Join(host, "token")},
		{Name: `config "own"`, Target: ConfigTarget("own", "/etc/own"), Source: filepath.Join(host, "token"), Mode: &mode, UID: &uid, GID: &gid},
		{Name: `config "dir"`, Target: ConfigTarget("dir", ""), Source: host},
	}
	for range 2 { // a restart writes them again
		got, err := Files(dir, files)
		if err != nil {
			t.Fatal(err)
		}
		options := []string{"rbind", "ro", "rprivate"}
		want := []specs.Mount{
			{Destination: "/run/secrets/env", Type: "bind", Source: dir + "/0", Options: options},
			{Destination: "/run/secrets/renamed", Type: "bind", Source: host + "/token", Options: options},
			{Destination: "/etc/own", Type: "bind", Source: dir + "/2", Options: options},
			{Destination: "/dir", Type: "bind", Source: host, Options: options},
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v", got)
		}
	}
	for name, want := range map[string]string{"0": "s3cret", "2": "from the host"} {
		if got := read(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "2"), &st); err != nil || st.Mode != unix.S_IFREG|0o440 || st.Uid != 1000 || st.Gid != 1001 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := unix.Stat(filepath.Join(dir, "0"), &st); err != nil || st.Mode != unix.S_IFREG|0o444 || st.Uid != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 2 {
		t.Errorf("left behind: %v", list)
	}
	_, err := Files(dir, []File{{Name: `secret "lost"`, Target: "/x", Source: host + "/lost"}})
	if err == nil || !strings.Contains(err.Error(), `secret "lost"`) {
		t.Errorf("missing: %v", err)
	}
	for _, c := range [][3]string{{"name", "../../etc/passwd", "/run/secrets/etc/passwd"}, {"name", "/a/../b", "/b"}} {
		if got := SecretTarget(c[0], c[1]); got != c[2] {
			t.Errorf("%v: %s", c, got)
		}
	}
}
