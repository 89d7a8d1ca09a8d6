package treewatch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// LimitError is a limit of the kernel's on watching, and what to do about it.
type LimitError struct {
	Setting string // of sysctl
	Now     string // its value
	Wanted  int    // how many would be needed here; 0: not known
}

func (e *LimitError) Error() string {
	what, fix := "every program that watches files takes one", "1024"
	if e.Wanted > 0 {
		what = fmt.Sprintf("%d folders are to be watched here", e.Wanted)
		fix = fmt.Sprint(roomy(e.Wanted))
	}
	return fmt.Sprintf("the kernel lets nobody watch more files: %s is %s, and %s — raise it with `sudo sysctl %s=%s`, or have folders ignored that need not be watched",
		e.Setting, e.Now, what, e.Setting, fix)
}

// roomy is a limit with room for others, a power of two.
func roomy(wanted int) int {
	n := 1 << 19
	for n < 4*wanted {
		n *= 2
	}
	return n
}

// explain makes a limit of the kernel's a *LimitError.
func explain(err error, s *state) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC):
		return &LimitError{Setting: "fs.inotify.max_user_watches", Now: setting("max_user_watches"), Wanted: s.wanted()}
	case errors.Is(err, unix.EMFILE):
		return &LimitError{Setting: "fs.inotify.max_user_instances", Now: setting("max_user_instances")}
	}
	return fmt.Errorf("watch files: %w", err)
}

func setting(name string) string {
	b, err := os.ReadFile(filepath.Join("/proc/sys/fs/inotify", name))
	if err != nil {
		return "reached"
	}
	return strings.TrimSpace(string(b))
}

// wanted counts the folders that are to be watched.
func (s *state) wanted() int {
	seen := map[string]bool{}
	for _, root := range s.Roots {
		for queue := []string{root}; len(queue) > 0; {
			path := queue[len(queue)-1]
			queue = queue[:len(queue)-1]
			if seen[path] {
				continue
			}
			seen[path] = true
			for _, e := range list(path) {
				if child := filepath.Join(path, e.Name()); e.IsDir() && !s.Skips(child) {
					queue = append(queue, child)
				}
			}
		}
	}
	return len(seen)
}
