package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Leaf is the group below an engine's parent for the engine itself and its keeper: on v2 a group that gives controllers to
// groups below it may hold no process.
const Leaf = "tutti.keeper"

// OwnPath is the group of a process in the hierarchy that a service manager tracks processes with: the v2 one, also in a
// hybrid layout, else the v1 hierarchy "name=systemd". "" where there is neither.
func OwnPath(pid int) (string, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", fmt.Errorf("find cgroup of process %d: %w", pid, err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	named := ""
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		// "4:memory:/user.slice", cgroups(7)
		parts := strings.SplitN(scanner.Text(), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "name=systemd":
			named = parts[2]
		case parts[0] == "0" && parts[1] == "" && parts[2] != "/":
			return parts[2], nil
		}
	}
	if err := scanner.Err(); err != nil {
		return "", fmt.Errorf("find cgroup of process %d: %w", pid, err)
	}
	return named, nil
}

// MoveInto moves processes into the v2 group at path, which is made if it is missing. It is for a group without
// controllers, which a manager's own processes share.
func (h *Host) MoveInto(path string, pids []int) error {
	dir := filepath.Join(h.unified, filepath.Clean("/"+path))
	if err := mkdirBelow(h.unified, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create cgroup: %w", err)
	}
	for _, pid := range pids {
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process %d to cgroup %s: %w", pid, path, err)
		}
	}
	return nil
}
