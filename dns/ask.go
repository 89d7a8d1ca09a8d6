package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Query is the packet of a question for a whole name (with or without the dot at its end).
func Query(name string, six bool) ([]byte, error) {
	qtype := dnsmessage.TypeA
	if six {
		qtype = dnsmessage.TypeAAAA
	}
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil, fmt.Errorf("%q cannot be asked for: %w", name, err)
	}
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: qtype, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// Ask asks a resolver over a connected UDP socket for the addresses of a whole name, once. rcode tells an answer without
// addresses from one that there is none ("NXDOMAIN", "SERVFAIL"); it is empty when all is well.
func Ask(ctx context.Context, conn net.Conn, name string, six bool) (addrs []netip.Addr, rcode string, err error) {
	request, err := Query(name, six)
	if err != nil {
		return nil, "", err
	}
	defer endWith(ctx, conn)()
	if _, err := conn.Write(request); err != nil {
		return nil, "", fmt.Errorf("ask the resolver for %s: %w", name, err)
	}
	q := &query{}
	if parseQuery(request, q) != wellFormed {
		return nil, "", fmt.Errorf("%q cannot be asked for", name)
	}
	x := exchange{request: request, q: q}
	buf := make([]byte, forwardBuffer)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, "", fmt.Errorf("wait for the resolver's answer about %s: %w", name, errors.Join(err, ctx.Err()))
		}
		if answer, err := x.check(buf[:n]); err == nil {
			return readAddresses(answer)
		}
	}
}

// rcodeNames are those of RFC 1035 section 4.1.1 by their usual names.
var rcodeNames = []string{"", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

func readAddresses(answer []byte) (addrs []netip.Addr, rcode string, err error) {
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil {
		return nil, "", fmt.Errorf("read the resolver's answer: %w", err)
	}
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			addrs = append(addrs, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addrs = append(addrs, netip.AddrFrom16(body.AAAA))
		}
	}
	if int(m.RCode) < len(rcodeNames) {
		return addrs, rcodeNames[m.RCode], nil
	}
	return addrs, m.RCode.String(), nil
}
