package probe

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net"
)

// Types of RFC 792 and RFC 4443.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// ping sends an echo request over a connected raw socket and waits for the reply to it. What routers and firewalls have
// against it comes as the socket's error.
func ping(c *net.IPConn, six bool, identifier uint16) error {
	// Type, code, checksum, identifier, sequence number, data: what is random makes it ours.
	request := make([]byte, 8+8)
	if _, err := rand.Read(request[6:]); err != nil {
		return err
	}
	binary.BigEndian.PutUint16(request[4:], identifier)
	reply := byte(echoReply4)
	request[0] = echoRequest4
	if six {
		request[0], reply = echoRequest6, echoReply6 // the kernel adds the checksum, raw(7)
	} else {
		binary.BigEndian.PutUint16(request[2:], checksum(request))
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := c.ReadFromIP(buf)
		if err != nil {
			return err
		}
		// A raw socket has copies of all ICMP messages from there, its own request among them on a loopback interface.
		if n == len(request) && buf[0] == reply && bytes.Equal(buf[4:n], request[4:]) {
			return nil
		}
	}
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum) //nolint:gosec // folded to 16 bits
}
