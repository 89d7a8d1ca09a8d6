package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The primary group is among the supplementary ones (CVE-2022-36109).
func TestUser(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for user, want := range map[string]string{
		"":          "uid=0(root) gid=0(root) /root",
		"root":      "uid=0(root) gid=0(root) groups=0(root) /root",
		"app":       "uid=1000(app) gid=1001(apps) groups=1001(apps),1002(extra),1003(more) /home/app",
		"1000":      "uid=1000(app) gid=1001(apps) groups=1001(apps),1002(extra),1003(more) /home/app",
		"app:extra": "uid=1000(app) gid=1002(extra) groups=1002(extra) /home/app",
		"app:7":     "uid=1000(app) gid=7 groups=7 /home/app",
		"4711":      "uid=4711 gid=0(root) groups=0(root) /",
		"4711:12":   "uid=4711 gid=12 groups=12 /",
		"0:more":    "uid=0(root) gid=1003(more) groups=1003(more) /root",
		"nobody":    "unable to find user nobody",
		"app:none":  "unable to find group none",
	} {
		s := testSpec(root, "sh", "-c", "echo $(id) $HOME")
		s.Process.User.Username = user
		w, output := pipe(t)
		c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{Stdio: Stdio{Stdout: w}})
		if err != nil {
			output()
			if !strings.Contains(err.Error(), want) {
				t.Errorf("user %q: %v, want %s", user, err, want)
			}
			continue
		}
		if err := c.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if out := strings.TrimSpace(output()); out != want {
			t.Errorf("user %q: %s, want %s", user, out, want)
		}
		if err := c.Delete(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGroupsAndHome(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	s := testSpec(root, "sh", "-c", "id; echo $HOME; sleep 1000")
	s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5}}
	s.Process.Env = append(s.Process.Env, "HOME=/own")
	c := start(t, r, s, CreateOptions{Groups: []string{"extra", "44"}})
	p := process("sh", "-c", "id; echo $HOME")
	p.User.Username = "4711"
	out, _ := execute(t, c, p)
	if out != "uid=4711 gid=0(root) groups=0(root),44,1002(extra)\n/\n" && out != "uid=4711 gid=0(root) groups=0(root),1002(extra),44\n/\n" {
		t.Error(out)
	}
	s = testSpec(root, "sh", "-c", "id; echo $HOME")
	s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5}}
	s.Process.Env = append(s.Process.Env, "HOME=/own")
	if out, _ := run(t, r, s); out != "uid=1000(app) gid=1000 groups=5\n/own\n" {
		t.Error(out)
	}
}

// A hostile user database is an error, never a hang or a way out.
func TestHostilePasswd(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	for name, make := range map[string]func(path string) error{
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o644) },
		"folder":    func(p string) error { return os.Mkdir(p, 0o755) },
		"magic":     func(p string) error { return os.Symlink("/proc/self/fd/3", p) },
		"zero":      func(p string) error { return os.Symlink("/dev/zero", p) },
		"huge":      func(p string) error { return os.Truncate(p, 1<<40) },
		"link loop": func(p string) error { return os.Symlink("passwd", p) },
	} {
		root := rootfs(t)
		path := filepath.Join(root, "etc/passwd")
		if name != "huge" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		s := testSpec(root, "true")
		s.Process.User.Username = "app"
		if _, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil || !strings.Contains(err.Error(), "passwd") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A program that is not root's can open its own standard streams again.
func TestReopenStdout(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "sh", "-c", "echo again > /dev/stdout; cat < /dev/stdin; echo x > /dev/null")
	s.Process.User.Username = "app"
	if out, status := run(t, newRuntime(t), s); out != "again\n" || status.Code != 0 {
		t.Fatal(out, status)
	}
}

func TestRlimitsUmaskOOMScore(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "sh", "-c", "ulimit -n; ulimit -Hn; umask; cat /proc/self/oom_score_adj")
	adj, mask := 500, uint32(0o77)
	s.Process.OOMScoreAdj, s.Process.User.Umask = &adj, &mask
	s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 123, Hard: 456}}
	if out, _ := run(t, newRuntime(t), s); out != "123\n456\n0077\n500\n" {
		t.Fatal(out)
	}
	// Without a limit of its own the program has the one that the engine was started with.
	s = testSpec(rootfs(t), "sh", "-c", "ulimit -n")
	out, _ := run(t, newRuntime(t), s)
	c := start(t, newRuntime(t), testSpec(rootfs(t), "sleep", "1000"), CreateOptions{Init: true})
	inner, _ := execute(t, c, process("sh", "-c", "ulimit -n; grep 'open files' /proc/1/limits"))
	if !strings.HasPrefix(inner, out) {
		t.Fatalf("run %s, exec %s", out, inner)
	}
}
