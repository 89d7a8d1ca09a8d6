package runtime

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Everything that an exec has started ends with KillTree, and nothing else of the container.
func TestKillTree(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	c := start(t, newRuntime(t), testSpec(rootfs(t), "sh", "-c", "sleep 1001 & sleep 1002"), CreateOptions{})
	script := "sleep 1003 & (sleep 1004 & sleep 1005) & (setsid sleep 1006; true) & echo started; wait; sleep 1007"
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := c.Exec(ctx, "tree", &specs.Process{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}, Cwd: "/"}, Stdio{Stdout: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	sleeping := func() []string {
		pids, err := c.Pids()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, pid := range pids {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone meanwhile: empty
			if f := strings.Split(string(b), "\x00"); f[0] == "sleep" {
				all = append(all, f[1])
			}
		}
		slices.Sort(all)
		return all
	}
	for len(sleeping()) < 6 {
		if ctx.Err() != nil {
			t.Fatalf("there sleep only %v", sleeping())
		}
	}
	if err := p.KillTree(); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(ctx); err != nil || status.Signal != 9 {
		t.Errorf("the process ended with %+v, %v", status, err)
	}
	for !slices.Equal(sleeping(), []string{"1001", "1002"}) {
		if ctx.Err() != nil {
			t.Fatalf("there sleep %v", sleeping())
		}
	}
}
