package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	refused := g.delegate(res)
	err := g.checkDomain()
	if err == nil {
		err = g.Set(res)
	}
	if err == nil {
		return nil
	}
	_ = syscall.Rmdir(g.Dir())
	if errors.Is(err, ErrUnsupported) && refused != nil {
		err = fmt.Errorf("%w (%w)", err, refused)
	}
	return err
}

// controllers are what a container's group has; others are given when a limit needs them.
// Those that only a domain can have come first: where processes stand in the way, they are refused and nothing changes.
// The others would be taken, and make the group a threaded one, below which there is no place for a container
// (cgroup-v2.rst, "Threads").
var controllers = []string{"memory", "io", "cpu", "cpuset", "pids"}

// delegate gives the group the controllers that containers need, level by level from the root. One that is refused is
// missed only by a limit that needs it; the error then says where it was refused.
func (g *v2) delegate(res *specs.LinuxResources) error {
	wanted := controllers
	if res != nil {
		if len(res.HugepageLimits) > 0 {
			wanted = append(slices.Clip(wanted), "hugetlb")
		}
		if len(res.Rdma) > 0 {
			wanted = append(slices.Clip(wanted), "rdma")
		}
	}
	var refused error
	dir := g.root
	parts := strings.SplitSeq(strings.Trim(g.path, "/"), "/")
	for part := range parts {
		refused = errors.Join(refused, enable(dir, wanted))
		dir = filepath.Join(dir, part)
	}
	return refused
}

// enable turns on controllers for the groups directly below dir, as far as dir has them itself.
func enable(dir string, wanted []string) error {
	text, err := read(dir, "cgroup.subtree_control")
	if err != nil {
		return fmt.Errorf("delegate cgroup controllers: %w", err)
	}
	enabled := strings.Fields(text)
	if !slices.ContainsFunc(wanted, func(c string) bool { return !slices.Contains(enabled, c) }) {
		return nil
	}
	if text, err = read(dir, "cgroup.controllers"); err != nil {
		return fmt.Errorf("delegate cgroup controllers: %w", err)
	}
	available := strings.Fields(text)
	var refused error
	for _, c := range wanted {
		if !slices.Contains(available, c) || slices.Contains(enabled, c) {
			continue
		}
		// One at a time: the kernel takes all of a line or nothing.
		err := write(dir, "cgroup.subtree_control", "+"+c)
		if errors.Is(err, syscall.EBUSY) {
			err = fmt.Errorf("%w: processes are in %s itself, and cgroup v2 gives controllers only to groups below one without any", err, dir)
			return errors.Join(refused, err)
		}
		refused = errors.Join(refused, err)
	}
	return refused
}

// checkDomain refuses a group below a threaded one: no process could be put into it (cgroup-v2.rst, "Threads").
func (g *v2) checkDomain() error {
	kind, err := read(g.Dir(), "cgroup.type")
	if err != nil || kind == "domain" {
		return nil //nolint:nilerr // a kernel without the file has no threaded groups
	}
	return fmt.Errorf("create cgroup %s: it is of type %q, because a group above it is threaded: use another cgroup parent", g.path, kind)
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

func (g *v2) Views(dest string, _ bool) []View {
	// With the host's namespace this is the whole tree, as in docker: /proc/self/cgroup names the group in it.
	return []View{{Dest: dest, Type: "cgroup2", Source: "cgroup"}}
}
