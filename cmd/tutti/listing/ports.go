package listing

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Port is one published (Host != "") or only exposed port of a container.
type Port struct {
	Host              string // the host's address
	Public, Container int
	Proto             string
}

// Ports shows ports as `docker ps` does: "0.0.0.0:8080->80/tcp, 443/tcp". Neighbours are joined to a range when the same
// address publishes them under their own numbers, or when they are only exposed.
func Ports(ports []Port) string {
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Public, b.Public),
			cmp.Compare(a.Proto, b.Proto))
	})
	type span struct {
		host, proto string
		first, last int
	}
	var spans []*span
	open := map[string]*span{}
	var mapped []string
	for _, p := range ports {
		if p.Host != "" && p.Public != p.Container {
			mapped = append(mapped, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.Host, strconv.Itoa(p.Public)), p.Container, p.Proto))
			continue
		}
		key := p.Host + "/" + p.Proto
		if s := open[key]; s != nil && (p.Container == s.last || p.Container == s.last+1) {
			s.last = p.Container
			continue
		}
		s := &span{p.Host, p.Proto, p.Container, p.Container}
		open[key] = s
		spans = append(spans, s)
	}
	shown := make([]string, 0, len(spans)+len(mapped))
	for _, s := range spans {
		r := strconv.Itoa(s.first)
		if s.last > s.first {
			r += "-" + strconv.Itoa(s.last)
		}
		if s.host != "" {
			r = net.JoinHostPort(s.host, r) + "->" + r
		}
		shown = append(shown, r+"/"+s.proto)
	}
	return strings.Join(append(shown, mapped...), ", ")
}
