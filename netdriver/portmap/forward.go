package portmap

import (
	"slices"
	"strings"
)

// bridges returns what the networks' bridges match: one pattern, and the names of those that the user has named.
func bridges(instance string, networks []Network) []string {
	own := "tt" + instance
	all := []string{own + "+"}
	for _, n := range networks {
		if !strings.HasPrefix(n.Bridge, own) {
			all = append(all, n.Bridge)
		}
	}
	slices.Sort(all[1:])
	return all
}

// forward returns the rules of FORWARD.
func forward(f family, prefix string, ours []string, networks []Network, open bool) []string {
	var rules []string
	for _, b := range ours {
		rules = append(rules, "-i "+b+" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-o "+b+" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	}
	rules = append(rules, "-j "+prefix+"NETWORKS")
	if open {
		rules = append(rules, "-j "+prefix+"OPEN")
	}
	for _, b := range ours {
		rules = append(rules, "-o "+b+" -m conntrack --ctstate DNAT -j ACCEPT")
	}
	rules = append(rules, unprotected(f, ours, networks)...)
	for _, b := range ours {
		rules = append(rules, "-o "+b+" -j DROP")
	}
	for _, b := range ours {
		for _, name := range foreign {
			rules = append(rules, "-i "+b+" -o "+name+" -j RETURN")
		}
		rules = append(rules, "-i "+b+" -j ACCEPT")
	}
	return rules
}

// unprotected lets everything from outside, but not from other networks, reach the networks that have it so.
func unprotected(f family, ours []string, networks []Network) []string {
	var rules []string
	for _, n := range networks {
		if n.mode(f) != Unprotected || n.Internal {
			continue
		}
		for _, b := range slices.Concat(ours, foreign) {
			rules = append(rules, "-i "+b+" -o "+n.Bridge+" -j DROP")
		}
		rules = append(rules, "-o "+n.Bridge+" -j ACCEPT")
	}
	return rules
}
