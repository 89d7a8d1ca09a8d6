package dns

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
)

// TTL of the answers from the table, in seconds: docker's.
const TTL = 600

// Record gives a name addresses on one network. Records of the same network
// and name add up (replicas of a service, a shared alias).
type Record struct {
	NetworkID string
	// NetworkName, when set, makes "<Name>.<NetworkName>" known as well, and is
	// appended to the name in answers to reverse queries, as docker does.
	NetworkName string
	Name        string // any case; dots separate labels
	Addrs       []netip.Addr
	// Ports are announced below the name in SRV records: "_80._tcp.<Name>", and by a port's own name.
	Ports []Port
	// Host is the container's own name, to which SRV records lead; needed with Ports alone.
	Host string
}

// Client is a container that asks.
type Client struct {
	ID string
	// Networks are the ids of the networks it is on, the preferred first: a name
	// known on several is answered from the first of them alone, as docker does.
	Networks []string
	// Internal clients have no way out: other names are answered SERVFAIL, as docker does.
	Internal bool
	// Upstreams, when not empty, replace Config.Upstreams (a service's `dns`). They
	// are reached with Config.DialClient where that is set, also by internal
	// clients, for which the server may well be a container beside them.
	Upstreams []netip.AddrPort
	// LocalSingle answers unknown single-label names of type A and AAAA with an empty
	// answer instead of forwarding them. Docker does so when `ndots` was set by
	// the host or the service, so that the search domains are tried next.
	LocalSingle bool
}

// Table is who may see which names. It never changes; safe for concurrent use.
type Table struct {
	clients map[string]*view
	skipped []string
}

// view is the table as one client sees it.
type view struct {
	Client
	networks []map[string]*entry
}

// entry is all that is known of one name on one network.
type entry struct {
	a, aaaa, ptr rrset
	hosts        hosts // that have ports
}

// rrset is a set of records in wire form, each an equal number of bytes long,
// owned by the name in the question (compression pointer to offset 12).
type rrset struct {
	wire []byte
	size int
	next atomic.Uint32 // the record that the next answer begins with
}

// NewTable builds a table. Within a network the first record that has an
// address names it in reverse queries: give the container's own name before its aliases.
func NewTable(records []Record, clients []Client) *Table {
	t := &Table{clients: make(map[string]*view, len(clients))}
	networks := map[string]map[string]*entry{}
	served := map[[2]string]*host{}
	for i := range records {
		r := &records[i]
		names := networks[r.NetworkID]
		if names == nil {
			names = map[string]*entry{}
			networks[r.NetworkID] = names
		}
		t.add(names, r, served)
	}
	for _, c := range clients {
		v := &view{Client: c}
		for _, id := range c.Networks {
			if names := networks[id]; names != nil {
				v.networks = append(v.networks, names)
			}
		}
		t.clients[c.ID] = v
	}
	return t
}

// Skipped lists the names that no query can carry (an empty label, a label of
// more than 63 bytes, more than 254 in all) and that therefore do not resolve.
func (t *Table) Skipped() []string { return t.skipped }

// add adds a record to the names of its network. served are the hosts with ports so far, by network and name.
func (t *Table) add(names map[string]*entry, r *Record, served map[[2]string]*host) {
	key, ok := wireName(r.Name)
	if !ok {
		t.skipped = append(t.skipped, r.Name)
		return
	}
	h := hostOf(r, served)
	target := key
	addTo(names, key, r.Addrs, h)
	if full := r.full(key); full != "" {
		target = full
		addTo(names, full, r.Addrs, h)
	}
	for _, addr := range r.Addrs {
		if reverse := entryOf(names, reverseName(addr)); reverse.ptr.size == 0 {
			reverse.ptr.add(typePTR, append([]byte(target), 0))
		}
	}
}

// full is a key with the network's name behind it, or empty.
func (r *Record) full(key string) string {
	suffix, ok := wireName(r.NetworkName)
	if !ok || len(key)+len(suffix) > maxNameLen {
		return ""
	}
	return key + suffix
}

// hostOf is the record's container if it has ports, the same one for all its names on a network.
func hostOf(r *Record, served map[[2]string]*host) *host {
	target, ok := wireName(r.Host)
	if len(r.Ports) == 0 || !ok {
		return nil
	}
	if full := r.full(target); full != "" {
		target = full
	}
	id := [2]string{r.NetworkID, target}
	if served[id] == nil {
		served[id] = newHost(target, r)
	}
	return served[id]
}

func entryOf(names map[string]*entry, key string) *entry {
	e := names[key]
	if e == nil {
		e = &entry{}
		names[key] = e
	}
	return e
}

func addTo(names map[string]*entry, key string, addrs []netip.Addr, h *host) {
	e := entryOf(names, key)
	for _, addr := range addrs {
		addToSets(&e.a, &e.aaaa, addr)
	}
	if h != nil && !slices.Contains(e.hosts.list, h) {
		e.hosts.list = append(e.hosts.list, h)
	}
}

func addToSets(a, aaaa *rrset, addr netip.Addr) {
	if addr = addr.Unmap(); addr.Is4() {
		a.add(typeA, addr.AsSlice())
	} else {
		aaaa.add(typeAAAA, addr.WithZone("").AsSlice())
	}
}

// add appends a record unless the set has it already.
func (s *rrset) add(rtype uint16, data []byte) {
	var buf [12 + maxNameLen + 1]byte
	rr := append(buf[:0], 0xc0, headerLen)
	rr = binary.BigEndian.AppendUint16(rr, rtype)
	rr = binary.BigEndian.AppendUint16(rr, classINET)
	rr = binary.BigEndian.AppendUint32(rr, TTL)
	rr = binary.BigEndian.AppendUint16(rr, uint16(len(data))) //nolint:gosec // an address or a name: 255 at most
	rr = append(rr, data...)
	for have := range slices.Chunk(s.wire, len(rr)) {
		if slices.Equal(have, rr) {
			return
		}
	}
	s.size = len(rr)
	s.wire = append(s.wire, rr...)
}

// appendTo appends as many records to msg as keep it within limit bytes, each
// time beginning with the next one, and returns how many of how many those were.
func (s *rrset) appendTo(msg []byte, limit int) (_ []byte, n, all int) {
	if s.size == 0 {
		return msg, 0, 0
	}
	all = len(s.wire) / s.size
	n = min(all, max(0, (limit-len(msg))/s.size))
	if all == 1 {
		return append(msg, s.wire[:n*s.size]...), n, all
	}
	first := int(s.next.Add(1)-1) % all
	tail := min(n, all-first)
	msg = append(msg, s.wire[first*s.size:(first+tail)*s.size]...)
	return append(msg, s.wire[:(n-tail)*s.size]...), n, all
}

// lookup finds a name on the first of the client's networks that has it.
func (v *view) lookup(key []byte) *entry {
	for _, names := range v.networks {
		if e := names[string(key)]; e != nil {
			return e
		}
	}
	return nil
}

// reverseName is the key of an address in reverse queries (RFC 1035 section 3.5, RFC 3596 section 2.5).
func reverseName(addr netip.Addr) string {
	addr = addr.Unmap()
	if addr.Is4() {
		b := addr.As4()
		key := make([]byte, 0, 29)
		for _, c := range slices.Backward(b[:]) {
			at := len(key)
			key = strconv.AppendUint(append(key, 0), uint64(c), 10)
			key[at] = byte(len(key) - at - 1)
		}
		return string(append(key, "\x07in-addr\x04arpa"...))
	}
	const hex = "0123456789abcdef"
	b := addr.As16()
	key := make([]byte, 0, 74)
	for _, c := range slices.Backward(b[:]) {
		key = append(key, 1, hex[c&15], 1, hex[c>>4])
	}
	return string(append(key, "\x03ip6\x04arpa"...))
}
