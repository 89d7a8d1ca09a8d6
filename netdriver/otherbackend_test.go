package netdriver

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Docker's chains in the legacy tables of a host whose iptables, and so ours, is nft's: the kernel asks both, and Docker's
// policy drops what ours lets pass, until the two rules are there that docs/ports.md names. They undo no isolation.
func TestTrafficBesideTheOtherBackend(t *testing.T) {
	t.Parallel()
	if os.Getenv(legacyEnv) != "" {
		return
	}
	rules, err := os.ReadFile("testdata/docker28.rules")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, "")
	cmd := exec.CommandContext(t.Context(), "xtables-legacy-multi", "iptables-restore")
	cmd.Stdin = strings.NewReader(string(rules))
	l.must(l.host.Do(cmd.Run))
	l.run("xtables-legacy-multi iptables -I FORWARD -i tt+ -j ACCEPT && xtables-legacy-multi iptables -I FORWARD -o tt+ -j ACCEPT")
	others := func() string { return l.run(`xtables-legacy-multi iptables-save | sed 's/\[.*//; /^#/d'`) }
	before, theirs := l.snapshot(), others()
	traffic(l)
	l.same(before)
	if now := others(); now != theirs {
		t.Errorf("Docker's rules are\n%s\nwere\n%s", now, theirs)
	}
}
