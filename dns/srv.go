package dns

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync/atomic"
)

// Port is a port that a container serves, as it is announced in SRV records (RFC 2782).
type Port struct {
	Port  uint16
	Proto string // "tcp", "udp" or "sctp"
	Name  string // besides the number, "http" for instance; may be empty
}

// host is a container behind a name, as SRV records show it.
type host struct {
	target  string // wire form, lower case, without the root label
	ports   []Port
	a, aaaa rrset
}

// hosts are the containers behind a name, in the order in which the next answer begins with the next one.
type hosts struct {
	list []*host
	next atomic.Uint32
}

// newHost prepares a record with ports for SRV answers. It is shared by all names of the record's container.
func newHost(target string, r *Record) *host {
	h := &host{target: target, ports: r.Ports}
	for _, addr := range r.Addrs {
		addToSets(&h.a, &h.aaaa, addr)
	}
	return h
}

// port finds the port that two labels ask for: "_" and its number or name, and "_" and its protocol, in lower case.
func (h *host) port(service, proto string) (uint16, bool) {
	service, proto = service[1:], proto[1:]
	number, err := strconv.ParseUint(service, 10, 16)
	isNumber := err == nil && strconv.FormatUint(number, 10) == service
	for _, p := range h.ports {
		if p.Proto == proto && (isNumber && uint64(p.Port) == number || service != "" && strings.EqualFold(p.Name, service)) {
			return p.Port, true
		}
	}
	return 0, false
}

// services is what a name of the form _service._proto.name stands for: the containers behind name, and which of their
// ports was asked for.
type services struct {
	hosts          *hosts
	service, proto string
}

// splitService takes the two first labels off a name in wire form if both begin with an underscore, as no name of a
// host does, and the second is a transport protocol.
func splitService(key []byte) (service, proto, rest []byte, ok bool) {
	service, rest, ok = firstLabel(key)
	if !ok {
		return nil, nil, nil, false
	}
	proto, rest, ok = firstLabel(rest)
	if !ok || len(rest) == 0 {
		return nil, nil, nil, false
	}
	switch string(proto) {
	case "_tcp", "_udp", "_sctp":
		return service, proto, rest, true
	}
	return nil, nil, nil, false
}

func firstLabel(key []byte) (label, rest []byte, ok bool) {
	if len(key) < 2 || key[1] != '_' {
		return nil, nil, false
	}
	n := int(key[0]) + 1
	return key[1:n], key[n:], true
}

// service finds the services of a name of ours; ok says that the name behind them is ours, whatever it serves.
func (v *view) service(key []byte) (s services, ok bool) {
	service, proto, rest, ok := splitService(key)
	if !ok {
		return s, false
	}
	e := v.lookup(rest)
	if e == nil {
		return s, false
	}
	return services{&e.hosts, string(service), string(proto)}, true
}

// answerServices makes the answer for a service of the table out of the request in msg, at most limit bytes long: an SRV
// record for each container that has the port, and what fits of their addresses. A port that nobody behind the name
// has does not exist; a query of another type finds nothing at a name that exists.
func answerServices(msg []byte, q *query, s services, limit int) []byte {
	var found []*host
	var ports []uint16
	for _, h := range s.hosts.list {
		if port, ok := h.port(s.service, s.proto); ok {
			found, ports = append(found, h), append(ports, port)
		}
	}
	rcode := rcodeSuccess
	if len(found) == 0 {
		rcode = rcodeNXDomain
	}
	out := begin(msg, q, flagAuthoritative, rcode)
	if len(found) == 0 || q.qtype != typeSRV && q.qtype != typeANY {
		return finish(out, q, rcode)
	}
	if q.opt != 0 {
		limit -= optLen
	}
	first := int(s.hosts.next.Add(1)-1) % len(found)
	count, targets := 0, make([]int, 0, len(found)) // where the targets' names stand in the message
	for i := range found {
		n := (first + i) % len(found)
		if len(out)+srvFixed+len(found[n].target)+1 > limit {
			out[2] |= flagTruncated >> 8
			break
		}
		out = appendSRV(out, ports[n], found[n].target)
		targets = append(targets, len(out)-len(found[n].target)-1)
		count++
	}
	binary.BigEndian.PutUint16(out[6:], uint16(count)) //nolint:gosec // an answer of 64 KiB holds far fewer
	more := 0
	for i, at := range targets {
		h := found[(first+i)%len(found)]
		for _, set := range []*rrset{&h.a, &h.aaaa} {
			if at > maxPointer || len(out)+len(set.wire) > limit {
				continue // who needs it asks for it (RFC 2782: "should")
			}
			more += set.appendOwned(&out, at)
		}
	}
	binary.BigEndian.PutUint16(out[10:], uint16(more)) //nolint:gosec // see above
	return finish(out, q, rcode)
}

const (
	srvFixed   = 2 + 10 + 6 // pointer to the owner, type to length, priority to port
	maxPointer = 1<<14 - 1  // RFC 1035 section 4.1.4
)

// appendSRV appends a record owned by the name in the question. Priority and weight are 0: all are equal (RFC 2782).
func appendSRV(msg []byte, port uint16, target string) []byte {
	msg = append(msg, 0xc0, headerLen)
	msg = binary.BigEndian.AppendUint16(msg, typeSRV)
	msg = binary.BigEndian.AppendUint16(msg, classINET)
	msg = binary.BigEndian.AppendUint32(msg, TTL)
	msg = binary.BigEndian.AppendUint16(msg, uint16(6+len(target)+1)) //nolint:gosec // a name has 255 bytes at most
	msg = append(msg, 0, 0, 0, 0)
	msg = binary.BigEndian.AppendUint16(msg, port)
	return append(append(msg, target...), 0)
}

// appendOwned appends all records, owned by the name that stands at an offset of the message, and returns how many.
func (s *rrset) appendOwned(msg *[]byte, at int) (n int) {
	for i := 0; i < len(s.wire); i += s.size {
		begin := len(*msg)
		*msg = append(*msg, s.wire[i:i+s.size]...)
		binary.BigEndian.PutUint16((*msg)[begin:], 0xc000|uint16(at)) //nolint:gosec // at most maxPointer
		n++
	}
	return n
}
