package runtime

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// BenchmarkLifeCycle is a whole container of the default spec on an overlay:
// Create, Start, Wait, Delete of /bin/true.
func BenchmarkLifeCycle(b *testing.B) {
	r, lower := newRuntime(b), rootfs(b)
	base := b.TempDir()
	ctx := b.Context()
	n := 0
	for b.Loop() {
		n++
		o := overlay(b, filepath.Join(base, strconv.Itoa(n)), lower)
		s := testSpec(filepath.Join(base, strconv.Itoa(n), "root"), "true")
		c, err := r.Create(ctx, "b"+strconv.Itoa(n), s, o)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Start(ctx); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Wait(ctx); err != nil {
			b.Fatal(err)
		}
		if err := c.Delete(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExec is Exec and Wait of /bin/true in a running container.
func BenchmarkExec(b *testing.B) {
	c := start(b, newRuntime(b), testSpec(rootfs(b), "sleep", "1000"), CreateOptions{})
	ctx := b.Context()
	n := 0
	for b.Loop() {
		n++
		p, err := c.Exec(ctx, "x"+strconv.Itoa(n), process("true"), Stdio{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// overlay makes the folders of an overlay below dir and returns the options that mount it.
func overlay(t testing.TB, dir string, lower ...string) CreateOptions {
	t.Helper()
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lowers := ""
	for i, l := range lower {
		if i > 0 {
			lowers += ":"
		}
		lowers += l
	}
	return CreateOptions{Rootfs: []specs.Mount{{
		Type: "overlay", Source: "overlay",
		Options: []string{"lowerdir=" + lowers, "upperdir=" + dir + "/upper", "workdir=" + dir + "/work", "volatile"},
	}}}
}
