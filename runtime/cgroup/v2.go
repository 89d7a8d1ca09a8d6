package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v2 is a group of the unified hierarchy.
// https://docs.kernel.org/admin-guide/cgroup-v2.html
type v2 struct {
	root, path string
}

func (g *v2) Dir() string { return filepath.Join(g.root, g.path) }

func (g *v2) Tasks() []string { return nil }

func (g *v2) Create(res *specs.LinuxResources) error {
	if err := mkdirBelow(g.root, g.Dir()); err != nil {
		return fmt.Errorf("create cgroup: %w", err)
	}
	err := g.delegate()
	if err == nil {
		err = g.Set(res)
	}
	if err != nil {
		_ = syscall.Rmdir(g.Dir())
	}
	return err
}

// delegate gives the group every controller that its ancestors can give. The
// parents hold no processes, as v2 demands.
func (g *v2) delegate() error {
	dir := g.root
	parts := strings.SplitSeq(strings.Trim(g.path, "/"), "/")
	for part := range parts {
		available, err := read(dir, "cgroup.controllers")
		if err != nil {
			return fmt.Errorf("delegate cgroup controllers: %w", err)
		}
		enabled, err := read(dir, "cgroup.subtree_control")
		if err != nil {
			return fmt.Errorf("delegate cgroup controllers: %w", err)
		}
		on := map[string]bool{}
		for c := range strings.FieldsSeq(enabled) {
			on[c] = true
		}
		for c := range strings.FieldsSeq(available) {
			if !on[c] {
				// One that is refused (say, cpu with real-time processes at the root) is missed
				// only by a limit that needs it, and that says so.
				_ = write(dir, "cgroup.subtree_control", "+"+c)
			}
		}
		dir = filepath.Join(dir, part)
	}
	return nil
}

func (g *v2) Add(pid int) error {
	return write(g.Dir(), "cgroup.procs", strconv.Itoa(pid))
}

func (g *v2) Pids() ([]int, error) { return pidsBelow(g.Dir()) }

func (g *v2) Freeze(ctx context.Context) error {
	if err := write(g.Dir(), "cgroup.freeze", "1"); err != nil {
		return err
	}
	if err := g.await(ctx, "frozen", 1); err != nil {
		return errors.Join(fmt.Errorf("freeze: %w", err), g.Thaw())
	}
	return nil
}

func (g *v2) Thaw() error { return write(g.Dir(), "cgroup.freeze", "0") }

func (g *v2) Frozen() (bool, error) {
	m, err := readFlat(g.Dir(), "cgroup.events")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return m["frozen"] == 1, err
}

// await waits for a key of cgroup.events to have a value. The kernel announces
// changes by POLLPRI on the file.
func (g *v2) await(ctx context.Context, key string, want uint64) error {
	f, err := os.Open(filepath.Join(g.Dir(), "cgroup.events"))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	buf := make([]byte, 512)
	for {
		n, err := f.ReadAt(buf, 0)
		if n == 0 && err != nil {
			return err
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.TrimSpace(line) == key+" "+strconv.FormatUint(want, 10) {
				return nil
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		poll := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
		// In slices, so that the end of ctx is seen.
		if _, err := unix.Poll(poll, 50); err != nil && err != unix.EINTR {
			return err
		}
	}
}

func (g *v2) Kill() error {
	err := write(g.Dir(), "cgroup.kill", "1")
	if err == nil || !errors.Is(err, ErrUnsupported) {
		return err
	}
	if _, serr := os.Stat(g.Dir()); errors.Is(serr, fs.ErrNotExist) {
		return nil
	}
	// Before Linux 5.14. A frozen v2 group lets SIGKILL through.
	return killAll(g.Pids)
}

func (g *v2) OOMKills() (uint64, error) {
	m, err := readFlat(g.Dir(), "memory.events")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read OOM kills: %w", err)
	}
	return m["oom_kill"], nil
}

func (g *v2) Remove(ctx context.Context) error { return removeTree(ctx, g.Dir()) }

func (g *v2) Views(dest string, private bool) []View {
	if private {
		return []View{{Dest: dest, Type: "cgroup2", Source: "cgroup"}}
	}
	return []View{{Dest: dest, Source: g.Dir()}}
}
