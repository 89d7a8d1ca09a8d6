package samples

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// instance is the part of all kernel-visible names that tells the engines of different roots apart.
func (s *site) instance() string {
	sum := sha256.Sum256([]byte(s.root))
	return hex.EncodeToString(sum[:2])
}

// leftovers lists everything of this site's that the kernel still knows: links, firewall rules, cgroups and mounts.
func (s *site) leftovers() []string {
	s.t.Helper()
	ours := regexp.MustCompile(`(?i)\bt[tv]` + s.instance() + `|tutti-` + s.instance() + `|` + regexp.QuoteMeta(s.root))
	var found []string
	for _, script := range []string{"ip -o link", "iptables-save", "ip6tables-save", "cat /proc/self/mountinfo"} {
		for line := range strings.Lines(s.onHost(script)) {
			if ours.MatchString(line) {
				found = append(found, script+": "+line)
			}
		}
	}
	for _, dir := range cgroups(s.t) {
		if ours.MatchString(dir) {
			found = append(found, dir)
		}
	}
	return found
}

// onHost runs a shell script where this site's commands run.
func (s *site) onHost(script string) string {
	s.t.Helper()
	if s.host != nil {
		return s.host.sh(s.host.pid, script)
	}
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// process is a running process.
type process struct {
	pid     int
	cmdline string
}

// processes are the keeper, the engine, and what they started: each has the root in its arguments or environment, or
// is in a cgroup of this instance.
func (s *site) processes() []process {
	s.t.Helper()
	var found []process
	cgroup := "/tutti-" + s.instance()
	for pid := range pids(s.t) {
		read := func(file string) string {
			data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)) // gone meanwhile: empty
			return strings.ReplaceAll(string(data), "\x00", " ")
		}
		cmdline := read("cmdline")
		if cmdline == "" {
			continue // a zombie, which its parent reaps, or a kernel thread
		}
		if strings.Contains(cmdline, s.root) || strings.Contains(read("environ"), s.root) || strings.Contains(read("cgroup"), cgroup) {
			found = append(found, process{pid, cmdline})
		}
	}
	return found
}

// engine is the process id of the engine, which may have to be started first by somebody else.
func (s *site) engine() int {
	s.t.Helper()
	var engines []int
	eventually(s.t, commandTimeout, func() error {
		if engines = s.engines(); len(engines) == 0 {
			return fmt.Errorf("no engine among %v", s.processes())
		}
		return nil
	})
	return engines[0]
}

// engines are the process ids of the engines. A child that is about to execute something else looks like its parent, and is
// none; nor is the keeper, whose command line goes on with the engine's.
func (s *site) engines() []int {
	s.t.Helper()
	var found, engines []int
	for _, p := range s.processes() {
		if strings.HasPrefix(p.cmdline, s.binary()+" engine ") {
			found = append(found, p.pid)
		}
	}
	for _, pid := range found {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		isChild := slices.ContainsFunc(found, func(other int) bool { return strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", other)) })
		if err == nil && !isChild {
			engines = append(engines, pid)
		}
	}
	return engines
}

func pids(t testing.TB) func(yield func(int) bool) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(int) bool) {
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil && !yield(pid) {
				return
			}
		}
	}
}

// cgroups lists the folders of all hierarchies.
func cgroups(t testing.TB) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() { // another test's may vanish during the walk
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// snapshot is what a machine of a test's own looks like, as text: links, addresses, routes, firewall, settings,
// mounts, and the processes in its network namespace.
func (m *machine) snapshot() string {
	m.t.Helper()
	state := m.sh(m.pid, `
		ip -d link 2>/dev/null # says of each name of a namespace that is another machine's that it is none
		ip addr; ip route show table all; ip -6 route show table all; ip rule; ip neigh show nud permanent
		iptables-save; ip6tables-save
		cd /proc/sys/net
		grep -r . ipv4/ip_forward ipv4/conf/all ipv4/conf/default ipv4/conf/uplink ipv4/conf/lo ipv6/conf/all ipv6/conf/default 2>/dev/null || true
`)
	for line := range strings.Lines(m.sh(m.pid, "cat /proc/self/mountinfo")) {
		if id, _, _ := strings.Cut(line, " "); !m.copied[id] {
			state += line
		}
	}
	var inside []string
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", m.pid))
	if err != nil {
		m.t.Fatal(err)
	}
	for pid := range pids(m.t) {
		if ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); ns == own {
			cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			inside = append(inside, fmt.Sprintf("process %s\n", strings.ReplaceAll(string(cmdline), "\x00", " ")))
		}
	}
	slices.Sort(inside)
	// What passes by itself: comments with the time, counters, life times of addresses.
	for _, volatile := range []string{`(?m)^#.*\n`, `\[\d+:\d+\]`, `(?m)^\s+valid_lft.*\n`, `stable_secret.*\n`} {
		state = regexp.MustCompile(volatile).ReplaceAllString(state, "")
	}
	return state + strings.Join(inside, "")
}

type errNotGone []process

func (e errNotGone) Error() string { return fmt.Sprintf("still running: %v", []process(e)) }

// waitUntilIdle waits until the engine has ended by itself.
func (s *site) waitUntilIdle() {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		if left := s.processes(); len(left) > 0 {
			return errNotGone(left)
		}
		return nil
	})
}

// mustBeAs waits until the engine has ended by itself, and compares the machine with what it was, line by line.
func (s *site) mustBeAs(before string) {
	s.t.Helper()
	s.waitUntilIdle()
	if after := s.host.snapshot(); after != before {
		s.t.Errorf("the host is not as before:\n%s", difference(before, after))
	}
}

// difference lists the lines that only one of two texts has.
func difference(before, after string) string {
	var b strings.Builder
	list := func(sign, these, those string) {
		have := map[string]int{}
		for line := range strings.Lines(those) {
			have[line]++
		}
		for line := range strings.Lines(these) {
			if have[line]--; have[line] < 0 {
				b.WriteString(sign + line)
			}
		}
	}
	list("-", before, after)
	list("+", after, before)
	return b.String()
}
