package portmap

import (
	"context"
	"strings"
)

// Differs tells what Apply would change: the lines for iptables-restore, or nothing when all is in force.
func (f *Firewall) Differs(ctx context.Context, r Rules) ([]string, error) {
	var lines []string
	for _, t := range f.families {
		want := chains(t.family, f.instance, r)
		if t.detect() != nil {
			continue
		}
		saved, err := f.run(ctx, "", t.name+"-save")
		if err != nil {
			if len(want) == 0 {
				continue // a kernel without IPv6: there is nothing of ours
			}
			return nil, err
		}
		for line := range strings.Lines(batch(t.family, f.instance, t.tables(), want, parse(saved))) {
			if line = strings.TrimSpace(line); line != "" && line != "COMMIT" {
				lines = append(lines, t.name+": "+line)
			}
		}
	}
	return lines, nil
}
