package portmap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// OtherBackend says what the host's other iptables do to packets of our networks, and what helps; it is empty if they let them
// pass. There are two backends, nft and legacy, and the kernel asks the rules of both: docker's policy DROP in the one takes what
// our rules in the other let pass.
func (f *Firewall) OtherBackend(ctx context.Context) (string, error) {
	for _, t := range f.families {
		if t.detect() != nil {
			continue
		}
		said, err := f.otherBackend(ctx, t.family)
		if err != nil || said != "" {
			return said, err
		}
	}
	return "", nil
}

func (f *Firewall) otherBackend(ctx context.Context, kind family) (string, error) {
	version, err := f.run(ctx, "", kind.name, "--version")
	if err != nil {
		return "", err
	}
	ours, other := "nft", kind.name+"-legacy"
	if !strings.Contains(version, "nf_tables") {
		ours, other = "legacy", kind.name+"-nft"
	} else if there, err := f.legacyTables(kind); err != nil || !there {
		return "", err // to list them would make them
	}
	if _, err := exec.LookPath(other); err != nil {
		return "", nil //nolint:nilerr // who has set rules there has the program
	}
	listed, err := f.run(ctx, "", other, "-S", "FORWARD")
	if err != nil {
		return "", ctx.Err() // a kernel without that backend has no rules of it
	}
	rules := strings.Split(strings.TrimSpace(listed), "\n")
	const in, out = "FORWARD -i tt+ -j ACCEPT", "FORWARD -o tt+ -j ACCEPT"
	if !slices.Contains(rules, "-P FORWARD DROP") || slices.Contains(rules, "-A "+in) && slices.Contains(rules, "-A "+out) {
		return "", nil
	}
	return fmt.Sprintf("the rules of %[1]s drop it, whose policy of FORWARD is DROP; those of tutti are %[2]s's, and the kernel asks both: "+
		"run `%[1]s -I %[3]s; %[1]s -I %[4]s`", other, ours, in, out), nil
}

// legacyTables tells whether the legacy backend has a table filter. See ip_tables_names in the kernel's net/netfilter/x_tables.c.
func (f *Firewall) legacyTables(kind family) (bool, error) {
	file := "/proc/thread-self/net/ip_tables_names"
	if !kind.is4 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	var names []byte
	err := f.host.Do(func() (err error) {
		names, err = os.ReadFile(file)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a kernel without it
	}
	return slices.Contains(strings.Fields(string(names)), "filter"), err
}
