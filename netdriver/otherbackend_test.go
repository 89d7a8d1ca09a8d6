package netdriver

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Docker's chains in the tables of the other backend of iptables, legacy where ours are nft's and the other way round: the
// kernel asks both, and Docker's policy drops what ours lets pass. The driver says so, until the two rules are there that it
// and docs/ports.md name. They undo no isolation.
func TestTrafficBesideTheOtherBackend(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("testdata/docker28.rules")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, "")
	other := "legacy"
	if os.Getenv(legacyEnv) != "" {
		other = "nft"
		l.run("for p in iptables ip6tables; do $p -t nat -S; $p -S; done") // the tables stay once they were looked at
	}
	program := "xtables-" + other + "-multi"
	said := func() string {
		said, err := l.driver().OtherBackend(t.Context())
		l.must(err)
		return said
	}
	if s := said(); s != "" {
		t.Errorf("of an empty host: %s", s)
	}
	cmd := exec.CommandContext(t.Context(), program, "iptables-restore")
	cmd.Stdin = strings.NewReader(string(rules))
	l.must(l.host.Do(cmd.Run))
	if s := said(); !strings.Contains(s, "iptables-"+other+" drop it") ||
		!strings.Contains(s, "run `iptables-"+other+" -I FORWARD -i tt+ -j ACCEPT; iptables-"+other+" -I FORWARD -o tt+ -j ACCEPT`") {
		t.Errorf("of docker's policy: %q", s)
	}
	l.run(program + " iptables -I FORWARD -i tt+ -j ACCEPT && " + program + " iptables -I FORWARD -o tt+ -j ACCEPT")
	if s := said(); s != "" {
		t.Errorf("of a policy that lets us pass: %s", s)
	}
	others := func() string { return l.run(program + ` iptables-save | sed 's/\[.*//; /^#/d'`) }
	before, theirs := l.snapshot(), others()
	traffic(l)
	l.same(before)
	if now := others(); now != theirs {
		t.Errorf("Docker's rules are\n%s\nwere\n%s", now, theirs)
	}
}
