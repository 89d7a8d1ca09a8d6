package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is a running process as /proc shows it.
type process struct {
	pid     int
	name    string // comm, at most 15 characters
	cmdline string // arguments, separated by spaces
	environ string
}

func (p process) mentions(path string) bool {
	return strings.Contains(p.cmdline, path) || strings.Contains(p.environ, path)
}

func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process that has ended meanwhile reads as empty.
		read := func(file string) string {
			data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
		}
		all = append(all, process{pid: pid, name: read("comm"), cmdline: read("cmdline"), environ: read("environ")})
	}
	return all, nil
}

// pss is the proportional set size in bytes: shared pages count in part for each process that shares them.
func (p process) pss() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("no Pss in smaps_rollup of process %d", p.pid)
}

// processorTime is what the process has had of the processors, in user and kernel mode (proc_pid_stat(5)), in units of
// 10 ms (USER_HZ is 100 everywhere).
func (p process) processorTime() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, err
	}
	const user, kernel = 11, 12 // behind the name, which may hold blanks
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) <= kernel {
		return 0, fmt.Errorf("stat of process %d: %s", p.pid, stat)
	}
	var ticks int64
	for _, f := range []string{fields[user], fields[kernel]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat of process %d: %w", p.pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
