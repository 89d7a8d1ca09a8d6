package portmap

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tables is what iptables-save prints: table → chain → its rules, in order.
type tables map[string]map[string][]string

// parse reads the output of iptables-save.
func parse(saved string) tables {
	t := tables{}
	var table map[string][]string
	for lines := bufio.NewScanner(strings.NewReader(saved)); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "*"):
			table = map[string][]string{}
			t[line[1:]] = table
		case strings.HasPrefix(line, ":") && table != nil:
			name, _, _ := strings.Cut(line[1:], " ")
			table[name] = nil
		case strings.HasPrefix(line, "-A ") && table != nil:
			name, rule, _ := strings.Cut(line[3:], " ")
			table[name] = append(table[name], rule)
		}
	}
	return t
}

// allTables are those that have chains of ours: filter, which every kernel with iptables has, and nat.
var allTables = []string{"filter", "nat"}

// batch returns the input of iptables-restore --noflush that makes the chains of an instance
// in some tables those wanted, or takes everything of the instance away if none is. It is
// empty if nothing has to change.
func batch(f family, instance string, names []string, want []chain, have tables) string {
	var out strings.Builder
	for _, table := range names {
		if changes := tableBatch(f, table, instance, want, have[table]); len(changes) > 0 {
			fmt.Fprintf(&out, "*%s\n%s\nCOMMIT\n", table, strings.Join(changes, "\n"))
		}
	}
	return out.String()
}

func tableBatch(f family, table, instance string, want []chain, have map[string][]string) []string {
	var declare, fill, drop []string
	wanted := map[string]bool{}
	for _, c := range want {
		if c.table != table {
			continue
		}
		wanted[c.name] = true
		rules, exists := have[c.name]
		if !exists || c.ordered && !slices.Equal(rules, c.rules) {
			declare = append(declare, ":"+c.name+" - [0:0]") // creates it, or empties it
			rules = nil
		}
		add, remove := difference(c.rules, rules)
		for _, r := range remove {
			fill = append(fill, "-D "+c.name+" "+r)
		}
		for _, r := range add {
			fill = append(fill, "-A "+c.name+" "+r)
		}
	}
	for _, j := range jumps(f, instance) {
		if j.table == table {
			fill = append(fill, j.changes(len(want) > 0, have[j.builtin])...)
		}
	}
	var empty []string
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if strings.HasPrefix(name, prefix(instance)) && !wanted[name] {
			empty, drop = append(empty, "-F "+name), append(drop, "-X "+name)
		}
	}
	return slices.Concat(declare, fill, empty, drop)
}

// difference returns what is in want but not in have, and what is in have but not in want,
// with as many of each as there are too few or too many.
func difference(want, have []string) (add, remove []string) {
	surplus := map[string]int{}
	for _, r := range have {
		surplus[r]++
	}
	for _, r := range want {
		if surplus[r] > 0 {
			surplus[r]--
		} else {
			add = append(add, r)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(surplus)) {
		for range surplus[r] {
			remove = append(remove, r)
		}
	}
	return add, remove
}

// changes returns the lines that make a builtin chain jump to ours once and before anything
// of others, or not at all. Jumps of other instances may stand before it: it does not
// concern them.
func (j jump) changes(wanted bool, have []string) []string {
	var lines []string
	inPlace := 0
	_, target, _ := strings.Cut(j.rule, "-j ")
	for _, r := range have { // one by another version may have another condition
		if r == "-j "+target || strings.HasSuffix(r, " -j "+target) {
			lines = append(lines, "-D "+j.builtin+" "+r)
		}
	}
	for _, r := range have {
		if r == j.rule {
			inPlace++
		}
		if !strings.Contains(r, "-j TUTTI-") || inPlace > 0 {
			break
		}
	}
	switch {
	case wanted && len(lines) == 1 && inPlace == 1:
		return nil
	case wanted:
		return append(lines, "-I "+j.builtin+" "+j.rule)
	default:
		return lines
	}
}
