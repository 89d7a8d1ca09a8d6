package netdriver

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// snapshot is everything of the host that has to be as it was.
func (l *lab) snapshot() string {
	l.t.Helper()
	var s strings.Builder
	commands := []string{
		"iptables-save", "ip6tables-save", "nft list ruleset", "ip -br link", "ip -br addr", "ip route show table all", "ip -6 route show table all",
		"grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf",
	}
	if l.onLAN { // iptables tells it all, and the guest has no nft
		commands = slices.DeleteFunc(commands, func(c string) bool { return strings.HasPrefix(c, "nft") })
	}
	for _, c := range commands {
		fmt.Fprintf(&s, "## %s\n%s", c, l.run(c))
	}
	return s.String()
}

// run runs a command in the host's namespace and returns what it prints, sorted where the
// order means nothing, without counters and comments.
func (l *lab) run(command string) string {
	l.t.Helper()
	var out []byte
	l.must(l.host.Do(func() (err error) {
		cmd := exec.CommandContext(l.t.Context(), "sh", "-c", command)
		cmd.Stderr = os.Stderr
		if strings.HasPrefix(command, "grep") {
			cmd.Stderr = nil // stable_secret cannot be read
		}
		out, err = cmd.Output()
		if strings.HasPrefix(command, "grep") {
			err = nil
		}
		return err
	}))
	out = counters.ReplaceAll(out, nil)
	lines := slices.DeleteFunc(strings.SplitAfter(string(out), "\n"), func(s string) bool { return strings.HasPrefix(s, "#") })
	if strings.HasPrefix(command, "grep") || strings.HasPrefix(command, "ip ") {
		slices.Sort(lines)
	}
	return strings.Join(lines, "")
}

var counters = regexp.MustCompile(`\[\d+:\d+\]|packets \d+ bytes \d+`)

// same asserts that the host is as the snapshot says.
func (l *lab) same(before string) {
	l.t.Helper()
	after := l.snapshot()
	if before == after {
		return
	}
	b, a := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range b {
		if !slices.Contains(a, line) {
			l.t.Errorf("gone: %s", line)
		}
	}
	for _, line := range a {
		if !slices.Contains(b, line) {
			l.t.Errorf("left: %s", line)
		}
	}
	if !l.t.Failed() {
		l.t.Errorf("the order differs:\n%s\n-----\n%s", before, after)
	}
}
