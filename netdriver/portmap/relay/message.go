package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Verbs of a [Message]. The client sends the first three, the relay answers each with one of the others.
const (
	Lead   = "lead"   // serve the port whose socket comes along, or lead one that is served to another target
	Drop   = "drop"   // end the port with all its connections, and those that it had when it was left
	Leave  = "leave"  // end the port, but not its connections: who has them goes on to have them
	Done   = "done"   // what was asked for is so
	Failed = "failed" // it is not: Text says why
)

// MaxMessage is the size of the longest message in bytes.
const MaxMessage = 512

var errMalformed = errors.New("malformed message")

// Message is a packet on the control socket: words with a space between them, so that another version understands it, too.
type Message struct {
	Verb   string
	Seq    uint64         // of a request, and of the answer to it
	Proto  string         // tcp, udp or sctp
	Host   netip.AddrPort // with Proto the name of the port
	Target netip.AddrPort // of Lead
	Text   string         // of Failed
}

// String returns the packet.
func (m Message) String() string {
	switch m.Verb {
	case Lead:
		return fmt.Sprintf("%s %d %s %s %s", m.Verb, m.Seq, m.Proto, m.Host, m.Target)
	case Drop, Leave:
		return fmt.Sprintf("%s %d %s %s", m.Verb, m.Seq, m.Proto, m.Host)
	default:
		s := fmt.Sprintf("%s %d %s", m.Verb, m.Seq, m.Text)
		return s[:min(len(s), MaxMessage)]
	}
}

// Parse reads a packet.
func Parse(packet string) (m Message, err error) {
	words := strings.SplitN(packet, " ", 3)
	if len(words) < 3 {
		return m, errMalformed
	}
	m.Verb = words[0]
	if m.Seq, err = strconv.ParseUint(words[1], 10, 64); err != nil {
		return m, errMalformed
	}
	fields := strings.Fields(words[2])
	switch {
	case m.Verb == Lead && len(fields) == 3:
		if m.Target, err = netip.ParseAddrPort(fields[2]); err != nil {
			return m, errMalformed
		}
	case (m.Verb == Drop || m.Verb == Leave) && len(fields) == 2:
	case m.Verb == Done || m.Verb == Failed:
		m.Text = words[2]
		return m, nil
	default:
		return m, errMalformed
	}
	m.Proto = fields[0]
	if m.Host, err = netip.ParseAddrPort(fields[1]); err != nil {
		return m, errMalformed
	}
	return m, nil
}

// name names a port: the same can be bound once on a host.
func (m Message) name() string { return m.Proto + " " + m.Host.String() }
