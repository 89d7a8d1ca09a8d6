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
//	nat OUTPUT ─────┴──► TUTTI-AB12-PORTS     (what is meant for the host itself; from outside not for 127.0.0.0/8,
//	                                           which nobody out there may mean)
//	nat POSTROUTING ───► TUTTI-AB12-SOURCE
//
// FORWARD decides about packets from or to our bridges alone, the same number of rules for
// any number of networks and ports; whatever it does not know it leaves to the chains of
// others. In this order:
//
//	1  packets of known connections pass
//	2  NETWORKS: within a network everything passes; an internal network lets nothing in or out
//	3  OPEN, where there is any: published ports that are reached at the container's own address (gateway mode routed,
//	   trusted interfaces)
//	   to a bridge passes what came through a published port (conntrack state DNAT)
//	   to the bridge of a network in mode nat-unprotected passes all that comes from outside
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
	Openings []Opening
}

// Network is a bridge with its subnets.
type Network struct {
	Bridge           string
	Subnets          []netip.Prefix
	Internal         bool       // nothing in, nothing out
	Masquerade       bool       // in mode NAT: outside it appears with the host's address
	Apart            bool       // its containers do not reach one another, but by published ports
	Mode4, Mode6     Mode       // how it meets those outside
	Source4, Source6 netip.Addr // the host's address it appears with; zero: that of the interface by which packets leave
}

// Opening lets a published port be reached at the container's own address.
type Opening struct {
	Bridge    string
	Proto     string
	Container netip.AddrPort
	From      string // the interface of the host; empty: any
}

// Port leads from the host into a container. Host and Container are of one family; an
// unspecified Host address stands for all of the host.
type Port struct {
	Proto           string // "tcp", "udp" or "sctp"
	Host, Container netip.AddrPort
	// Except is a bridge whose containers reach the port through the proxy: its ports are isolated from one another, also
	// for what is redirected inside the bridge, as br_netfilter does it.
	Except string
}

// HasIPv4 tells whether a network has IPv4 subnets.
func (r Rules) HasIPv4() bool { return slices.ContainsFunc(r.Networks, has(ipv4)) }

// HasIPv6 tells whether a network has IPv6 subnets.
func (r Rules) HasIPv6() bool { return slices.ContainsFunc(r.Networks, has(ipv6)) }

// family is IPv4 or IPv6, each with a firewall of its own.
type family struct {
	name     string // as iptables-save has it, by its command
	is4      bool
	loopback string
	icmp     string // the protocol's name
}

var (
	ipv4 = family{"iptables", true, "127.0.0.0/8", "icmp"}
	ipv6 = family{"ip6tables", false, "", "ipv6-icmp"}
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

func (c chain) equal(other chain) bool {
	return c.table == other.table && c.name == other.name && slices.Equal(c.rules, other.rules)
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
	prefix, ours := prefix(instance), bridges(instance, networks)
	var within, source, ports, input, open []string
	for _, n := range networks {
		within = append(within, n.within()...)
		source = append(source, n.source(f)...)
	}
	for _, p := range r.Ports {
		if p.Host.Addr().Is4() == f.is4 && p.Container.Addr().Is4() == f.is4 {
			ports = append(ports, p.rule())
		}
	}
	for _, n := range networks {
		if n.mode(f) == Routed && !n.Internal {
			open = append(open, "! -i "+n.Bridge+" -o "+n.Bridge+" -p "+f.icmp+" -j ACCEPT")
		}
	}
	for _, o := range r.Openings {
		if o.Container.Addr().Is4() == f.is4 {
			open = append(open, o.rule())
		}
	}
	if f.loopback != "" {
		for _, b := range ours {
			source = append(source, "-s "+f.loopback+" -o "+b+" -j MASQUERADE")
			input = append(input, "-d "+f.loopback+" -i "+b+" -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP")
		}
	}
	all := []chain{
		{"filter", prefix + "FORWARD", forward(f, prefix, ours, networks, len(open) > 0), true},
		{"filter", prefix + "NETWORKS", within, false},
		{"filter", prefix + "INPUT", input, true},
		{"nat", prefix + "PORTS", ports, false},
		{"nat", prefix + "SOURCE", source, false},
	}
	if len(open) > 0 {
		all = append(all, chain{"filter", prefix + "OPEN", open, false})
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
	output, prerouting := "", "! -d "+f.loopback+" "
	if !f.is4 {
		output, prerouting = "! -d ::1/128 ", ""
	}
	return []jump{
		{"filter", "FORWARD", "-j " + p + "FORWARD"},
		{"filter", "INPUT", "-j " + p + "INPUT"},
		{"nat", "PREROUTING", prerouting + "-m addrtype --dst-type LOCAL -j " + p + "PORTS"},
		{"nat", "OUTPUT", output + "-m addrtype --dst-type LOCAL -j " + p + "PORTS"},
		{"nat", "POSTROUTING", "-j " + p + "SOURCE"},
	}
}

// prefix is how the names of the chains of an instance begin.
func prefix(instance string) string { return "TUTTI-" + strings.ToUpper(instance) + "-" }

func (n Network) mode(f family) Mode {
	if f.is4 {
		return n.Mode4
	}
	return n.Mode6
}

// within returns the network's rules in NETWORKS.
func (n Network) within() []string {
	rules := []string{"-i " + n.Bridge + " -o " + n.Bridge + " -j ACCEPT"}
	if n.Apart { // the ports of the bridge are isolated: this is about the way by the host
		rules = []string{
			"-i " + n.Bridge + " -o " + n.Bridge + " -m conntrack --ctstate DNAT -j ACCEPT",
			"-i " + n.Bridge + " -o " + n.Bridge + " -m conntrack ! --ctstate DNAT -j DROP",
		}
	}
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
		if n.Masquerade && !n.Internal && n.mode(f) != Routed {
			rules = append(rules, fmt.Sprintf("-s %s ! -o %s -j %s", s, n.Bridge, n.masquerade(f)))
		}
	}
	return rules
}

// masquerade is the target that gives packets the host's address.
func (n Network) masquerade(f family) string {
	a := n.Source6
	if f.is4 {
		a = n.Source4
	}
	if !a.IsValid() {
		return "MASQUERADE"
	}
	return "SNAT --to-source " + a.String()
}

// rule returns the opening's rule in OPEN.
func (o Opening) rule() string {
	from := "! -i " + o.Bridge
	if o.From != "" {
		from = "-i " + o.From
	}
	a := o.Container.Addr()
	return fmt.Sprintf("-d %s %s -o %s -p %s -m %s --dport %d -j ACCEPT", netip.PrefixFrom(a, a.BitLen()), from, o.Bridge, o.Proto, o.Proto, o.Container.Port())
}

// rule returns the port's rule in PORTS.
func (p Port) rule() string {
	to := ""
	if a := p.Host.Addr(); !a.IsUnspecified() {
		to = fmt.Sprintf("-d %s ", netip.PrefixFrom(a, a.BitLen()))
	}
	if p.Except != "" {
		to += "! -i " + p.Except + " "
	}
	return fmt.Sprintf("%s-p %s -m %s --dport %d -j DNAT --to-destination %s", to, p.Proto, p.Proto, p.Host.Port(), p.Container)
}
