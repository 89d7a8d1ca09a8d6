package dns

import "encoding/binary"

// begin turns the request in msg into the start of its answer: header and
// question, counts set for a question alone. What follows is appended.
func begin(msg []byte, q *query, flags, rcode uint16) []byte {
	in := binary.BigEndian.Uint16(msg[2:])
	flags |= flagResponse | flagAvailable | in&(maskOpcode|flagRecursion|flagCheckDisabled) | rcode&maskRcode
	binary.BigEndian.PutUint16(msg[2:], flags)
	clear(msg[6:headerLen])
	return msg[:q.end]
}

// optLen is the size of the OPT record that ends an answer to an EDNS request.
const optLen = 11

// finish appends OPT when the client sent one (RFC 6891 section 6.1.1).
func finish(msg []byte, q *query, rcode uint16) []byte {
	if q.opt == 0 {
		return msg
	}
	do := byte(0)
	if q.dnssec {
		do = 0x80 // RFC 3225 section 3: copied
	}
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	return append(msg, 0, 0, typeOPT, udpPayload>>8, udpPayload&0xff, byte(rcode>>4), 0, do, 0, 0, 0)
}

// answerCode makes an answer without records out of the request in msg.
func answerCode(msg []byte, q *query, rcode uint16) []byte {
	return finish(begin(msg, q, 0, rcode), q, rcode)
}

// answerHeader makes a bare header out of a request that cannot be read further.
func answerHeader(msg []byte, rcode uint16) []byte {
	in := binary.BigEndian.Uint16(msg[2:])
	binary.BigEndian.PutUint16(msg[2:], flagResponse|flagAvailable|in&(maskOpcode|flagRecursion)|rcode)
	clear(msg[4:headerLen])
	return msg[:headerLen]
}

// answerEntry makes the answer for a name of the table out of the request in
// msg, at most limit bytes long. Records that do not fit are left out and TC
// is set, so that clients ask again over TCP, and those that cannot still have
// some addresses (RFC 2181 section 9). An entry without records of the type is
// NODATA: the name exists.
func answerEntry(msg []byte, q *query, e *entry, limit int) []byte {
	out := begin(msg, q, flagAuthoritative, rcodeSuccess)
	if q.opt != 0 {
		limit -= optLen
	}
	count, whole := 0, true
	add := func(s *rrset) {
		var n, all int
		out, n, all = s.appendTo(out, limit)
		count += n
		whole = whole && n == all
	}
	switch q.qtype {
	case typeA:
		add(&e.a)
	case typeAAAA:
		add(&e.aaaa)
	case typePTR:
		add(&e.ptr)
	case typeANY:
		add(&e.a)
		add(&e.aaaa)
		add(&e.ptr)
	}
	binary.BigEndian.PutUint16(out[6:], uint16(count)) //nolint:gosec // an answer of 64 KiB holds at most 4,095 records
	if !whole {
		out[2] |= flagTruncated >> 8
	}
	return finish(out, q, rcodeSuccess)
}
