package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Hooks on the host get their own environment and working folder, never the container's: a library or a program that
// an image names must not be loaded with the host's rights (CVE-2025-23266, CVE-2024-0132).
func TestHooksAreNotTheContainers(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), rootfs(t)
	put(t, filepath.Join(dir, "hook"), "#!"+busybox+" sh\n{ env; echo CWD $("+busybox+" pwd -P); } > "+dir+"/$1 2>&1\n", 0o755)
	hook := func(name string) []specs.Hook {
		return []specs.Hook{{Path: filepath.Join(dir, "hook"), Args: []string{"hook", name}, Env: []string{"OWN=1"}}}
	}
	s := testSpec(root, "true")
	s.Process.Env = append(s.Process.Env, "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/evil", "EVIL=1")
	s.Process.Cwd = "/tmp"
	s.Hooks = &specs.Hooks{
		Prestart: hook("prestart"), CreateRuntime: hook("createRuntime"), CreateContainer: hook("createContainer"), //nolint:staticcheck // deprecated, and still used
		Poststart: hook("poststart"), Poststop: hook("poststop"),
	}
	r := newRuntime(t)
	c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := c.Wait(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := c.Delete(testContext(t)); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		out := string(b)
		if !strings.Contains(out, "OWN=1") || strings.Contains(strings.ToLower(out), "evil") || strings.Contains(out, "CWD "+root) || strings.Contains(out, "CWD /tmp\n") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// Numbers in an image's user database that would wrap to root are not taken for any (CVE-2024-40635).
func TestUserDatabaseOverflow(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	put(t, root+"/etc/passwd", "wraps:x:4294967296:1000::/:/bin/sh\nnegative:x:-1:1000::/:/bin/sh\nhigh:x:2147483648:1000::/:/bin/sh\ngroup:x:1000:4294967296::/:/bin/sh\n", 0o644)
	put(t, root+"/etc/group", "wraps:x:4294967296:\nhigh:x:2147483648:app\n", 0o644)
	for _, user := range []string{"wraps", "negative", "high", "group", "1000:wraps", "1000:high", "+0", " 0", "0x0"} {
		s := testSpec(root, "id")
		s.Process.User.Username = user
		if c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("user %q was accepted", user)
			_ = c.Delete(testContext(t))
		}
	}
	for _, n := range []uint32{1 << 31, 1<<32 - 1} {
		for _, u := range []specs.User{{UID: n}, {GID: n}} {
			s := testSpec(root, "id")
			s.Process.User = u
			if c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
				t.Errorf("user %+v was accepted", u)
				_ = c.Delete(testContext(t))
			}
		}
	}
}
