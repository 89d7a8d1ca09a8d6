package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Listen is where containers find the resolver, as with docker.
var Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 11}), dnsPort)

// ResolvConfSpec says what a container's /etc/resolv.conf is made of.
type ResolvConfSpec struct {
	Host HostConfig
	// Servers, Search and Options are the service's dns, dns_search and dns_opt.
	// Each replaces what the host has. A search of "." alone means none.
	Servers []netip.Addr
	Search  []string
	Options []string
	// HostNetwork: the container shares the host's network, no resolver of ours is
	// in reach, and the servers stand in the file. Otherwise the file names [Listen]
	// and Servers belong into Client.Upstreams.
	HostNetwork bool
}

// ResolvConf makes the content of a container's /etc/resolv.conf with docker's
// rules: "ndots:0" is added unless the host or the service set a valid ndots.
// localSingle reports one above 0 (see Client.LocalSingle).
func ResolvConf(spec ResolvConfSpec) (content []byte, localSingle bool) {
	servers, search, options := spec.Host.Nameservers, spec.Host.Search, spec.Host.Options
	if len(spec.Servers) > 0 {
		servers = spec.Servers
	}
	if len(spec.Search) > 0 {
		search = slices.DeleteFunc(slices.Clone(spec.Search), func(s string) bool { return s == "." })
	}
	if len(spec.Options) > 0 {
		options = spec.Options
	}
	if !spec.HostNetwork {
		servers = []netip.Addr{Listen.Addr()}
		options = slices.DeleteFunc(slices.Clone(options), invalidNdots)
		if !slices.ContainsFunc(options, isNdots) {
			options = append(options, "ndots:0")
		}
		localSingle = slices.ContainsFunc(options, func(o string) bool { return isNdots(o) && o != "ndots:0" })
	}
	var b strings.Builder
	for _, server := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	writeLine(&b, "search", search)
	writeLine(&b, "options", options)
	return []byte(b.String()), localSingle
}

// writeLine writes a keyword and its values on one line, whatever blanks the values hold.
func writeLine(b *strings.Builder, keyword string, values []string) {
	if values = strings.Fields(strings.Join(values, " ")); len(values) > 0 {
		fmt.Fprintf(b, "%s %s\n", keyword, strings.Join(values, " "))
	}
}

// ClientUpstreams is a service's `dns` as Client.Upstreams wants it.
func ClientUpstreams(servers []netip.Addr) []netip.AddrPort {
	var list []netip.AddrPort
	for _, addr := range servers {
		list = append(list, netip.AddrPortFrom(addr, dnsPort))
	}
	return list
}

func isNdots(option string) bool { return strings.HasPrefix(option, "ndots:") || option == "ndots" }

func invalidNdots(option string) bool {
	if !isNdots(option) {
		return false
	}
	n, err := strconv.Atoi(strings.TrimPrefix(option, "ndots:"))
	return err != nil || n < 0
}
