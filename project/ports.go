package project

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// keyFirewall says what governs a published port: of a port in its long form, of a service for all of its ports, or at the
// top of the file for all of the project's. What is nearer to the port counts.
const keyFirewall = "x-firewall"

// Values of x-firewall.
const (
	// FirewallOpen opens what is published, as docker does: the packets are forwarded and never see the host's INPUT chain.
	FirewallOpen = "open"
	// FirewallInput leaves the decision to the host's INPUT chain, as for a program of the host.
	FirewallInput = "input"
)

// Firewall tells what governs a published port of a service, [FirewallOpen] or [FirewallInput]; Load has made sure that it
// is one of these.
func (p *Project) Firewall(service string, port types.ServicePortConfig) string {
	for _, level := range []types.Extensions{port.Extensions, p.Services[service].Extensions, p.Extensions} {
		if v, ok := level[keyFirewall]; ok {
			return fmt.Sprint(v)
		}
	}
	return FirewallOpen
}

// firewalls are the ports of a service that are not open, as part of what its hash is made of.
func (p *Project) firewalls(service string) (list []string) {
	for _, port := range p.Services[service].Ports {
		if f := p.Firewall(service, port); f != FirewallOpen {
			list = append(list, fmt.Sprintf("%s:%s:%d/%s %s", port.HostIP, port.Published, port.Target, port.Protocol, f))
		}
	}
	return list
}

func checkFirewall(x types.Extensions) (what, fix string) {
	v, ok := x[keyFirewall]
	if !ok || v == FirewallOpen || v == FirewallInput {
		return "", ""
	}
	return fmt.Sprintf("`%s`: %v is not known", keyFirewall, v),
		"write `open` (published ports are open to everybody) or `input` (the host's INPUT chain decides)"
}

// checkPorts refuses ports that the schema lets through.
func checkPorts(p *types.Project, s *types.ServiceConfig) *fault {
	if what, fix := checkFirewall(p.Extensions); what != "" {
		return &fault{path: []string{keyFirewall}, what: what, fix: fix, top: true}
	}
	if what, fix := checkFirewall(s.Extensions); what != "" {
		return &fault{path: []string{keyFirewall}, what: what, fix: fix}
	}
	for i, port := range s.Ports {
		if what, fix := checkPort(port); what != "" {
			return &fault{path: []string{"ports", strconv.Itoa(i)}, what: what, fix: fix}
		}
		for _, other := range s.Ports[:i] {
			if samePort(port, other) {
				return &fault{
					path: []string{"ports", strconv.Itoa(i)},
					what: fmt.Sprintf("the port %s/%s of the host is published twice, for port %d and port %d", port.Published, port.Protocol, other.Target, port.Target),
					fix:  "choose another port of the host for one of them",
				}
			}
		}
	}
	return nil
}

// checkPort tells what is wrong with a port, and what to do.
func checkPort(port types.ServicePortConfig) (what, fix string) {
	if port.Target == 0 || port.Target > 65535 {
		return fmt.Sprintf("%d is no port", port.Target), "use a port from 1 to 65535"
	}
	if port.Protocol != "" && !slices.Contains([]string{"tcp", "udp", "sctp"}, port.Protocol) {
		return fmt.Sprintf("%q is no protocol of a port", port.Protocol), "use tcp, udp or sctp"
	}
	if port.Mode != "" && port.Mode != "host" && port.Mode != "ingress" {
		return fmt.Sprintf("%q is no mode of a port", port.Mode), "use host or ingress, which mean the same on one host"
	}
	if what, fix := checkFirewall(port.Extensions); what != "" {
		return what, fix
	}
	if port.Published == "" {
		return "", ""
	}
	if _, _, ok := portRange(port.Published); !ok {
		return fmt.Sprintf("%q is no host port", port.Published), "use a port from 1 to 65535, or a range like 8000-8010"
	}
	return "", ""
}

// portRange reads "8000" or "8000-8010".
func portRange(published string) (from, to uint64, ok bool) {
	first, last, ranged := strings.Cut(published, "-")
	from, err := strconv.ParseUint(first, 10, 16)
	if to = from; err == nil && ranged {
		to, err = strconv.ParseUint(last, 10, 16)
	}
	return from, to, err == nil && from <= to
}

// samePort tells whether two ports of one container want the same port of the host. Of a range each takes a free one.
func samePort(a, b types.ServicePortConfig) bool {
	from, to, _ := portRange(a.Published)
	if a.Published != b.Published || from != to || from == 0 || !slices.Contains([]string{a.Protocol, ""}, b.Protocol) {
		return false
	}
	for _, x := range hostAddresses(a.HostIP) {
		for _, y := range hostAddresses(b.HostIP) {
			if x == y || x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified()) {
				return true
			}
		}
	}
	return false
}

// hostAddresses are the addresses that a port is bound to: none stands for all, of both families.
func hostAddresses(hostIP string) []netip.Addr {
	a, err := netip.ParseAddr(hostIP)
	if err != nil {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{a}
}
