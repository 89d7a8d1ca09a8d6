// Package portmap is the firewall of tutti's networks and the way from ports of the host
// into containers.
//
// # Chains
//
// All rules are in chains of the instance (AB12 here), that builtin chains jump to first:
//
//	filter FORWARD ────► TUTTI-AB12-FORWARD ──► TUTTI-AB12-NETWORKS
//	filter INPUT ──────► TUTTI-AB12-INPUT
//	nat PREROUTING ─┐
//	nat OUTPUT ─────┴──► TUTTI-AB12-PORTS     (what is meant for the host itself)
//	nat POSTROUTING ───► TUTTI-AB12-SOURCE
//
// FORWARD decides about packets from or to our bridges alone, the same number of rules for
// any number of networks and ports; whatever it does not know it leaves to the chains of
// others. In this order:
//
//	1  packets of known connections pass
//	2  NETWORKS: within a network everything passes; an internal network lets nothing in or out
//	3  to a bridge passes what came through a published port (conntrack state DNAT)
//	4  to a bridge nothing else passes: from other networks, from outside
//	5  from a bridge to those of Docker, libvirt or another engine: theirs to decide
//	6  from a bridge everything else passes
//
// INPUT keeps containers away from services on 127.0.0.1 of the host, which route_localnet
// on the bridges would open to them.
//
// PORTS has a DNAT rule for each published port. SOURCE rewrites the source of packets that
// leave a network, of what the host sends from 127.0.0.1, and of those that come back into
// the network they are from (hairpin), whose answers would otherwise take the short way.
//
// The rules of NETWORKS, PORTS and SOURCE exclude each other, so their order means nothing
// and a change is some rules added and some deleted: with nftables adding is quick, while
// the end of a program that has deleted waits for RCU grace periods, 20-50 ms.
//
// # Ports
//
// A published port is held by a bound socket of the host with a small proxy behind it. The
// rules take connections before they get there, and cost nothing. What they cannot take
// reaches the proxy: [::1], IPv6 to a container without, a host without iptables.
package portmap

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rules is what the firewall has to let through.
type Rules struct {
	Networks []Network
	Ports    []Port
}

// Network is a bridge with its subnets.
type Network struct {
	Bridge     string
	Subnets    []netip.Prefix
	Internal   bool // nothing in, nothing out
	Masquerade bool // outside it appears with the host's address
}

// Port leads from the host into a container. Host and Container are of one family; an
// unspecified Host address stands for all of the host.
type Port struct {
	Proto           string // "tcp" or "udp"
	Host, Container netip.AddrPort
}

// HasIPv6 tells whether a network has IPv6.
func (r Rules) HasIPv6() bool { return slices.ContainsFunc(r.Networks, has(ipv6)) }

// family is IPv4 or IPv6, each with a firewall of its own.
type family struct {
	name     string // as iptables-save has it, by its command
	is4      bool
	loopback string
}

var (
	ipv4 = family{"iptables", true, "127.0.0.0/8"}
	ipv6 = family{"ip6tables", false, ""}
)

func has(f family) func(Network) bool {
	return func(n Network) bool {
		return slices.ContainsFunc(n.Subnets, func(p netip.Prefix) bool { return p.Addr().Is4() == f.is4 })
	}
}

// chain is a chain of ours with the rules it shall have, in the words of iptables-save.
type chain struct {
	table, name string
	rules       []string
	ordered     bool // or the order means nothing
}

// jump is a rule of a builtin chain that leads to one of ours.
type jump struct {
	table, builtin, rule string
}

// foreign are bridges of others, whose owners decide what may reach them.
var foreign = []string{"docker+", "br-+", "virbr+", "tt+"}

// chains returns the chains of an instance for the networks and ports of a family, or none
// if there is no network.
func chains(f family, instance string, r Rules) []chain {
	networks := slices.DeleteFunc(slices.Clone(r.Networks), func(n Network) bool { return !has(f)(n) })
	if len(networks) == 0 {
		return nil
	}
	prefix, ours := prefix(instance), "tt"+instance+"+"
	forward := []string{
		"-i " + ours + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"-o " + ours + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"-j " + prefix + "NETWORKS",
		"-o " + ours + " -m conntrack --ctstate DNAT -j ACCEPT",
		"-o " + ours + " -j DROP",
	}
	for _, name := range foreign {
		forward = append(forward, "-i "+ours+" -o "+name+" -j RETURN")
	}
	forward = append(forward, "-i "+ours+" -j ACCEPT")

	var within, source, ports, input []string
	for _, n := range networks {
		within = append(within, n.within()...)
		source = append(source, n.source(f)...)
	}
	for _, p := range r.Ports {
		if p.Host.Addr().Is4() == f.is4 && p.Container.Addr().Is4() == f.is4 {
			ports = append(ports, p.rule())
		}
	}
	if f.loopback != "" {
		source = append(source, "-s "+f.loopback+" -o "+ours+" -j MASQUERADE")
		input = append(input, "-d "+f.loopback+" -i "+ours+" -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP")
	}
	all := []chain{
		{"filter", prefix + "FORWARD", forward, true},
		{"filter", prefix + "NETWORKS", within, false},
		{"filter", prefix + "INPUT", input, true},
		{"nat", prefix + "PORTS", ports, false},
		{"nat", prefix + "SOURCE", source, false},
	}
	for i := range all {
		if !all[i].ordered {
			slices.Sort(all[i].rules)
			all[i].rules = slices.Compact(all[i].rules)
		}
	}
	return all
}

// jumps returns the rules that lead to the chains of an instance. IPv6 has no route_localnet:
// what is redirected away from ::1 gets lost, so it is left to the proxy.
func jumps(f family, instance string) []jump {
	p := prefix(instance)
	output := ""
	if !f.is4 {
		output = "! -d ::1/128 "
	}
	return []jump{
		{"filter", "FORWARD", "-j " + p + "FORWARD"},
		{"filter", "INPUT", "-j " + p + "INPUT"},
		{"nat", "PREROUTING", "-m addrtype --dst-type LOCAL -j " + p + "PORTS"},
		{"nat", "OUTPUT", output + "-m addrtype --dst-type LOCAL -j " + p + "PORTS"},
		{"nat", "POSTROUTING", "-j " + p + "SOURCE"},
	}
}

// prefix is how the names of the chains of an instance begin.
func prefix(instance string) string { return "TUTTI-" + strings.ToUpper(instance) + "-" }

// within returns the network's rules in NETWORKS.
func (n Network) within() []string {
	rules := []string{"-i " + n.Bridge + " -o " + n.Bridge + " -j ACCEPT"}
	if n.Internal {
		rules = append(rules, "-i "+n.Bridge+" ! -o "+n.Bridge+" -j DROP", "! -i "+n.Bridge+" -o "+n.Bridge+" -j DROP")
	}
	return rules
}

// source returns the network's rules in SOURCE.
func (n Network) source(f family) []string {
	var rules []string
	for _, s := range n.Subnets {
		if s.Addr().Is4() != f.is4 {
			continue
		}
		rules = append(rules, fmt.Sprintf("-s %s -o %s -m conntrack --ctstate DNAT -j MASQUERADE", s, n.Bridge))
		if n.Masquerade && !n.Internal {
			rules = append(rules, fmt.Sprintf("-s %s ! -o %s -j MASQUERADE", s, n.Bridge))
		}
	}
	return rules
}

// rule returns the port's rule in PORTS.
func (p Port) rule() string {
	to := ""
	if a := p.Host.Addr(); !a.IsUnspecified() {
		to = fmt.Sprintf("-d %s ", netip.PrefixFrom(a, a.BitLen()))
	}
	return fmt.Sprintf("%s-p %s -m %s --dport %d -j DNAT --to-destination %s", to, p.Proto, p.Proto, p.Host.Port(), p.Container)
}
