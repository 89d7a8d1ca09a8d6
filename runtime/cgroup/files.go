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
	"time"
)

// write stores value in a file of a group with one write(2). A missing file means
// that the kernel lacks the feature.
func write(dir, file, value string) error {
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set %s: %w", file, ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", file, err)
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("set %s to %q: %w", file, value, err)
	}
	return nil
}

func read(dir, file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimSpace(string(b)), err
}

// readUint reads a number; "max" and a missing file are 0.
func readUint(dir, file string) uint64 {
	s, err := read(dir, file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// readFlat reads a file of lines "key value".
func readFlat(dir, file string) (map[string]uint64, error) {
	s, err := read(dir, file)
	if err != nil {
		return nil, err
	}
	m := map[string]uint64{}
	for line := range strings.Lines(s) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			m[key] = n
		}
	}
	return m, nil
}

// pidsBelow lists the processes of the group in dir and of all groups below it.
// This process is never among them, whatever a hostile container has done.
func pidsBelow(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil // removed meanwhile
		}
		if err != nil || !d.IsDir() {
			return err
		}
		s, err := read(path, "cgroup.procs")
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			return err
		}
		for line := range strings.Lines(s) {
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err == nil && pid > 0 && pid != os.Getpid() && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup: %w", err)
	}
	return pids, nil
}

func isBusy(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY)
}

// removeTree removes the group in dir and all below it, deepest first. Exiting
// processes keep a group busy for a moment; no hierarchy reports their end, so
// it asks again, ever less often, until ctx ends.
func removeTree(ctx context.Context, dir string) error {
	err := syscall.Rmdir(dir)
	if err == nil || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := 100 * time.Microsecond; ; wait = min(wait*2, 20*time.Millisecond) {
		if err = removeOnce(dir); err == nil {
			return nil
		}
		if !isBusy(err) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup: %w (%w)", err, ctx.Err())
		case <-timer.C:
		}
	}
}

// removeEmpty removes the groups in dir and below it that hold neither processes nor other groups, deepest first.
func removeEmpty(dir string) error {
	dirs, err := groupsBelow(dir)
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		// A process or a group in it makes rmdir(2) fail with EBUSY or ENOTEMPTY.
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) && !isBusy(err) {
			return err
		}
	}
	return nil
}

// groupsBelow lists dir and the groups below it, each before those below itself.
func groupsBelow(dir string) (dirs []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	return dirs, err
}

func removeOnce(dir string) error {
	dirs, err := groupsBelow(dir)
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := syscall.Rmdir(d); err != nil && err != syscall.ENOENT {
			return &fs.PathError{Op: "rmdir", Path: d, Err: err}
		}
	}
	return nil
}

// killAll sends SIGKILL to every process that pids lists, and again while others
// than those appear: what was forked just before its parent was hit.
func killAll(pids func() ([]int, error)) error {
	killed := map[int]bool{}
	for range 1000 {
		list, err := pids()
		if err != nil {
			return err
		}
		fresh := false
		for _, pid := range list {
			if !killed[pid] {
				fresh, killed[pid] = true, true
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !fresh {
			return nil
		}
	}
	return errors.New("kill cgroup: processes multiply faster than they can be killed")
}
