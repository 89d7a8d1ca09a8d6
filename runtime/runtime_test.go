package runtime

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The tests run real containers as root, from a root file system of one static busybox.

const busybox = "/bin/busybox"

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		panic("the tests of package runtime must run as root")
	}
	if _, err := os.Stat(busybox); err != nil {
		panic("the tests of package runtime need a static busybox: apt install busybox-static")
	}
	if os.Getenv(engineEnv) != "" {
		if err := engine(os.Args[1]); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// testing deadline for anything that a container does
const patience = 2 * time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newRuntime returns a Runtime with a cgroup parent of its own. At the end nothing of
// it may be left.
func newRuntime(t testing.TB) *Runtime {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "tutti-test-") // a tmpfs, as in production
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r, err := New(Config{Dir: filepath.Join(dir, "run"), CgroupParent: "/tutti-test-" + random(), Reaper: NewLocalReaper()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := r.cgroups.Children(r.cfg.CgroupParent); err != nil || len(left) > 0 {
			t.Errorf("cgroups left behind: %v, %v", left, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.RemoveOrphans(ctx, nil); err != nil {
			t.Error(err)
		}
		if err := r.RemoveParent(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func random() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// rootfs makes a root file system with busybox and returns its folder.
func rootfs(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "rootfs")
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "bin/busybox"), string(program), 0o755)
	for name := range strings.FieldsSeq("sh true false cat sleep id ls echo stty mount mknod unshare hostname dd chmod kill ps grep readlink touch stat head env yes tail ln mkdir wc test printf tr cut pwd") {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n", 0o644)
	put(t, filepath.Join(root, "etc/group"), "root:x:0:\napps:x:1001:\nextra:x:1002:app\nmore:x:1003:other,app\n", 0o644)
	return root
}

func put(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// testSpec is the default container running args on a root file system.
func testSpec(root string, args ...string) *specs.Spec {
	s := DefaultSpec()
	s.Root.Path = root
	s.Process.Args = args
	s.Process.Env = []string{"PATH=/bin"}
	return s
}

// pipe returns the write end for a child; what came through is returned by the function.
func pipe(t testing.TB) (*os.File, func() string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(&buf, r) })
	return w, func() string {
		_ = w.Close()
		wg.Wait()
		_ = r.Close()
		return buf.String()
	}
}

// start creates and starts a container that is deleted with the test.
func start(t testing.TB, r *Runtime, spec *specs.Spec, o CreateOptions) *Container {
	t.Helper()
	c := create(t, r, spec, o)
	if err := c.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

func create(t testing.TB, r *Runtime, spec *specs.Spec, o CreateOptions) *Container {
	t.Helper()
	c, err := r.Create(testContext(t), "c"+random(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Delete(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run runs a container to its end and returns its output and exit status.
func run(t testing.TB, r *Runtime, spec *specs.Spec) (string, ExitStatus) {
	t.Helper()
	w, output := pipe(t)
	c := start(t, r, spec, CreateOptions{Stdio: Stdio{Stdout: w, Stderr: w}})
	status, err := c.Wait(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return output(), status
}

// execute runs a process in a container to its end.
func execute(t testing.TB, c *Container, p *specs.Process) (string, ExitStatus) {
	t.Helper()
	w, output := pipe(t)
	proc, err := c.Exec(testContext(t), "x"+random(), p, Stdio{Stdout: w, Stderr: w})
	if err != nil {
		t.Fatal(err)
	}
	status, err := proc.Wait(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return output(), status
}
