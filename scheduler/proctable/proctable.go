// Package proctable lists processes as ps(1) does, from /proc alone: hosts need not have ps, and containers even less.
package proctable

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc: USER_HZ is 100 on every architecture that there is Linux for with Go,
// proc_pid_stat(5).
const clockTick = time.Second / 100

// Process is one process as /proc shows it.
type Process struct {
	Pid, PPid, Session, Group int
	UID                       int // effective
	Command                   string
	Args                      []string
	State                     byte
	TTY                       int // device number, 0 for none
	Foreground                int // process group that the terminal belongs to
	CPU                       time.Duration
	Started                   time.Time
	Threads                   int
	Virtual, Resident         uint64 // bytes
}

// Read reads the processes that still exist of those given, in the order of their numbers.
func Read(pids []int) ([]Process, error) {
	boot, err := bootTime()
	if err != nil {
		return nil, err
	}
	pids = slices.Clone(pids)
	slices.Sort(pids)
	var all []Process
	for _, pid := range pids {
		if p, ok := readProcess(pid, boot); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// bootTime is when the host was booted: what start times count from.
func bootTime() (time.Time, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, fmt.Errorf("read the time of the boot: %w", err)
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			return time.Unix(n, 0), err
		}
	}
	return time.Time{}, fmt.Errorf("read the time of the boot: /proc/stat has no btime")
}

// readProcess reads one process; one that has ended meanwhile is not ok.
func readProcess(pid int, boot time.Time) (p Process, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, false
	}
	// The name stands in parentheses and may hold anything, parentheses too.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if open < 0 || end < open || len(fields) < 22 {
		return p, false
	}
	number := func(field int) int64 { // numbered as in proc_pid_stat(5)
		n, _ := strconv.ParseInt(fields[field-3], 10, 64) // the kernel writes numbers
		return n
	}
	p = Process{
		Pid: pid, PPid: int(number(4)), Group: int(number(5)), Session: int(number(6)), TTY: int(number(7)), Foreground: int(number(8)),
		Command: string(stat[open+1 : end]), State: fields[0][0],
		CPU: time.Duration(number(14)+number(15)) * clockTick, Threads: int(number(20)),
		Started: boot.Add(time.Duration(number(22)) * clockTick), Virtual: uint64(number(23)), //nolint:gosec // a size
		Resident: uint64(number(24)) * uint64(os.Getpagesize()), //nolint:gosec // a size
	}
	if args, err := os.ReadFile(dir + "/cmdline"); err == nil && len(args) > 0 {
		p.Args = strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return p, false
	}
	for line := range bytes.Lines(status) {
		if ids, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(ids); len(f) > 1 {
				p.UID, _ = strconv.Atoi(string(f[1])) // the kernel writes numbers
			}
		}
	}
	return p, true
}

// Users resolves user ids to the host's names, each once.
type Users map[int]string

// Name is the user's name, or its number.
func (u Users) Name(uid int) string {
	if name, ok := u[uid]; ok {
		return name
	}
	name := strconv.Itoa(uid)
	if found, err := user.LookupId(name); err == nil {
		name = found.Username
	}
	u[uid] = name
	return name
}
