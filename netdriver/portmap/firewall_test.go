package portmap

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tutti/netdriver/netns"
)

func newHost(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.NewBare()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return ns
}

// output runs a command in a namespace and returns what it prints, without comments.
func output(t *testing.T, ns *netns.NS, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = exec.CommandContext(t.Context(), name, args...).Output()
		return err
	})
	if err != nil {
		t.Fatal(name, err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// iptables-save prints the rules exactly as we write them, so that nothing is changed when
// everything is in place: applied again, by this and by another firewall.
func testApply(t *testing.T, ctx context.Context) {
	host := newHost(t)
	f := NewFirewall(host, "ab12", slog.Default())
	found, err := f.Survey()
	if err != nil {
		t.Fatal(err)
	}
	before := output(t, host, "nft", "list", "ruleset")
	if err := f.Apply(ctx, sample); err != nil {
		t.Fatal(err)
	}
	for _, family := range []family{ipv4, ipv6} {
		saved := output(t, host, family.name+"-save")
		if rest := batch(family, "ab12", allTables, chains(family, "ab12", sample), parse(saved)); rest != "" {
			t.Errorf("%s: applied, and still to do:\n%s\nhave:\n%s", family.name, rest, saved)
		}
	}
	other := NewFirewall(host, "cd34", slog.Default())
	if err := other.Apply(ctx, sample); err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(ctx, Rules{}); err != nil {
		t.Fatal(err)
	}
	if saved := output(t, host, "iptables-save"); strings.Contains(saved, "AB12") || !strings.Contains(saved, "CD34-PORTS") {
		t.Errorf("one instance of two is gone, left is\n%s", saved)
	}
	if err := f.Leave(found); err != nil {
		t.Fatal(err)
	}
	if saved := output(t, host, "iptables-save"); !strings.Contains(saved, "-j TUTTI-CD34-FORWARD") {
		t.Errorf("tables in use were removed, left is\n%s", saved)
	}
	if err := other.Apply(ctx, Rules{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Leave(found); err != nil {
		t.Fatal(err)
	}
	if after := output(t, host, "nft", "list", "ruleset"); after != before {
		t.Errorf("left:\n%s", after)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	testApply(t, t.Context())
}

// The other backend, by its names in front of the search path.
func TestApplyLegacy(t *testing.T) {
	dir := t.TempDir()
	legacy, err := exec.LookPath("xtables-legacy-multi")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.Symlink(legacy, filepath.Join(dir, name+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	testApply(t, t.Context())
	if out := output(t, newHost(t), "iptables", "--version"); !strings.Contains(out, "legacy") {
		t.Fatalf("that was %s", out)
	}
}

// Leave removes neither what was there before, empty or not, nor what others have put
// something into or have set a policy for.
func TestLeaveKeepsWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	f := NewFirewall(host, "ab12", slog.Default())
	output(t, host, "nft", "add table ip filter; add table ip mine; add chain ip filter INPUT { type filter hook input priority 0; }")
	before := output(t, host, "nft", "list", "ruleset")
	found, err := f.Survey()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Apply(t.Context(), sample), f.Apply(t.Context(), Rules{}), f.Leave(found)); err != nil {
		t.Fatal(err)
	}
	if after := output(t, host, "nft", "list", "ruleset"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if err := f.Apply(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	output(t, host, "iptables", "-t", "nat", "-A", "OUTPUT", "-d", "1.2.3.4", "-j", "ACCEPT")
	output(t, host, "iptables", "-P", "FORWARD", "DROP")
	if err := errors.Join(f.Apply(t.Context(), Rules{}), f.Leave(found)); err != nil {
		t.Fatal(err)
	}
	if saved := output(t, host, "iptables-save"); !strings.Contains(saved, "-d 1.2.3.4") || !strings.Contains(saved, "FORWARD DROP") {
		t.Errorf("somebody else's is gone; left is\n%s", saved)
	}
}

func TestApplyReportsWhatIptablesSays(t *testing.T) {
	t.Parallel()
	f := NewFirewall(newHost(t), "ab12", slog.Default())
	bad := Rules{Networks: []Network{{Bridge: "a name that is too long for a link", Subnets: sample.Networks[0].Subnets}}}
	if err := f.Apply(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "iptables-restore") || !strings.Contains(err.Error(), "name") {
		t.Errorf("got %v", err)
	}
}

// A program that was killed has not said that there are no rules: they are not taken for gone.
func TestKilledProgram(t *testing.T) {
	host, dir := newHost(t), t.TempDir()
	f := NewFirewall(host, "ab12", slog.Default())
	if err := f.Apply(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	for _, family := range []family{ipv4, ipv6} {
		if err := os.WriteFile(dir+"/"+family.name+"-save", []byte("#!/bin/sh\nkill -TERM $$\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+path)
	if err := f.Apply(t.Context(), Rules{}); err == nil {
		t.Error("the rules are said to be gone")
	}
	t.Setenv("PATH", path)
	if err := f.Apply(t.Context(), Rules{}); err != nil {
		t.Error(err)
	}
	if saved := output(t, host, "iptables-save"); strings.Contains(saved, "AB12") {
		t.Errorf("left rules:\n%s", saved)
	}
}
