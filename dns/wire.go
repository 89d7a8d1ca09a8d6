package dns

import (
	"encoding/binary"

	"golang.org/x/net/dns/dnsmessage"
)

// Sizes of RFC 1035 section 4 and RFC 6891 section 6.
const (
	headerLen     = 12
	maxNameLen    = 254 // wire form without the root label: 255 octets with it
	maxLabelLen   = 63
	minUDPPayload = 512  // what every client takes without EDNS
	udpPayload    = 1232 // the largest answer sent over UDP from the table, and what is announced in OPT (DNS flag day 2020)
)

const (
	typeOPT   = 41
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = uint16(dnsmessage.TypeALL)
	typeA     = uint16(dnsmessage.TypeA)
	typeAAAA  = uint16(dnsmessage.TypeAAAA)
	typePTR   = uint16(dnsmessage.TypePTR)
	typeSRV   = uint16(dnsmessage.TypeSRV)
	classINET = uint16(dnsmessage.ClassINET)
)

const (
	rcodeSuccess  = uint16(dnsmessage.RCodeSuccess)
	rcodeFormErr  = uint16(dnsmessage.RCodeFormatError)
	rcodeServFail = uint16(dnsmessage.RCodeServerFailure)
	rcodeNXDomain = uint16(dnsmessage.RCodeNameError)
	rcodeNotImp   = uint16(dnsmessage.RCodeNotImplemented)
	rcodeRefused  = uint16(dnsmessage.RCodeRefused)
	rcodeBadVers  = uint16(16) // RFC 6891 section 9; its upper bits travel in OPT
)

// Bits of the header's flag word (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
const (
	flagResponse      = 1 << 15
	flagAuthoritative = 1 << 10
	flagTruncated     = 1 << 9
	flagRecursion     = 1 << 8
	flagAvailable     = 1 << 7
	flagCheckDisabled = 1 << 4
	maskOpcode        = 15 << 11
	maskRcode         = 15
)

// query is what a request asks, as found by parseQuery. It holds no reference
// to the message and is reused from packet to packet.
type query struct {
	name    [maxNameLen]byte // wire form, lower case, without the root label
	nameLen int
	qtype   uint16
	qclass  uint16
	end     int // offset behind the question
	opt     int // offset of the OPT record, 0 when there is none
	udpSize int // largest answer the client takes over UDP, in bytes
	dnssec  bool
}

func (q *query) key() []byte { return q.name[:q.nameLen] }

// singleLabel says whether the name has at most one label ("web", ".").
func (q *query) singleLabel() bool {
	return q.nameLen == 0 || int(q.name[0])+1 == q.nameLen
}

// verdict says what to do with a packet that came in as a request.
type verdict int

const (
	dropped   verdict = iota // no answer: not a request, or too short to have an id
	malformed                // FORMERR
	refusedOp                // NOTIMP: an opcode other than QUERY
	badVers                  // BADVERS: an EDNS version other than 0
	wellFormed
)

// parseQuery reads a request into q. It never allocates and looks at each byte
// at most once, names in additional records included: compression pointers
// are stepped over, never followed.
func parseQuery(msg []byte, q *query) verdict {
	q.opt, q.udpSize, q.dnssec = 0, minUDPPayload, false
	if len(msg) < headerLen {
		return dropped
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&flagResponse != 0 {
		return dropped // answering answers would let two resolvers talk for ever
	}
	if flags&maskOpcode != 0 {
		return refusedOp
	}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return malformed
	}
	end := q.readName(msg)
	if end < 0 || len(msg) < end+4 {
		return malformed
	}
	q.qtype = binary.BigEndian.Uint16(msg[end:])
	q.qclass = binary.BigEndian.Uint16(msg[end+2:])
	q.end = end + 4
	return q.readRecords(msg)
}

// readName reads the question's name at offset 12 and returns the offset behind
// it, or -1. A compression pointer cannot occur there: nothing stands before it.
func (q *query) readName(msg []byte) int {
	off, n := headerLen, 0
	for {
		if off >= len(msg) {
			return -1
		}
		l := int(msg[off])
		if l == 0 {
			q.nameLen = n
			return off + 1
		}
		if l > maxLabelLen || n+1+l > maxNameLen || off+1+l > len(msg) {
			return -1
		}
		q.name[n] = byte(l)
		for i, c := range msg[off+1 : off+1+l] {
			q.name[n+1+i] = lower(c)
		}
		off += 1 + l
		n += 1 + l
	}
}

// readRecords walks over the records behind the question, of which a request
// normally has none or one OPT, and takes the EDNS fields from it.
func (q *query) readRecords(msg []byte) verdict {
	records := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	total := records + int(binary.BigEndian.Uint16(msg[10:]))
	off := q.end
	result := wellFormed
	for i := range total { // ends at the first record that is not there: each takes 11 bytes or more
		start := off
		if off = skipName(msg, off); off < 0 || off+10 > len(msg) {
			return malformed
		}
		rtype := binary.BigEndian.Uint16(msg[off:])
		next := off + 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
		if next > len(msg) {
			return malformed
		}
		if rtype == typeOPT {
			if q.opt != 0 || i < records || msg[start] != 0 {
				return malformed // RFC 6891 section 6.1.1: one OPT, root name, additional section
			}
			q.opt = start
			q.udpSize = max(minUDPPayload, int(binary.BigEndian.Uint16(msg[off+2:])))
			q.dnssec = msg[off+6]&0x80 != 0
			if msg[off+5] != 0 {
				result = badVers
			}
		}
		off = next
	}
	if off != len(msg) {
		return malformed
	}
	return result
}

// skipName returns the offset behind the name at off, or -1.
func skipName(msg []byte, off int) int {
	for off < len(msg) {
		l := int(msg[off])
		switch {
		case l == 0:
			return off + 1
		case l&0xc0 == 0xc0:
			if off+2 > len(msg) {
				return -1
			}
			return off + 2
		case l > maxLabelLen:
			return -1
		}
		off += 1 + l
	}
	return -1
}

// wireName is the key of a name: wire form, lower case, without the root label.
// It reports false for names that no query can carry.
func wireName(name string) (string, bool) {
	b := make([]byte, 0, len(name)+2)
	for len(name) > 0 {
		i := 0
		for i < len(name) && name[i] != '.' {
			i++
		}
		if i == 0 || i > maxLabelLen {
			return "", false
		}
		b = append(b, byte(i))
		for _, c := range []byte(name[:i]) {
			b = append(b, lower(c))
		}
		if i < len(name) {
			i++ // the dot; a last one stands for the root
		}
		name = name[i:]
	}
	return string(b), len(b) > 0 && len(b) <= maxNameLen
}

// questionIs says whether two messages ask the same, whatever the case of the
// letters. Both begin with a whole header.
func questionIs(a, b []byte, end int) bool {
	if len(a) < end || len(b) < end || binary.BigEndian.Uint16(a[4:]) != 1 {
		return false
	}
	for i := headerLen; i < end; i++ {
		if x, y := a[i], b[i]; x != y && (i >= end-4 || lower(x) != lower(y)) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
