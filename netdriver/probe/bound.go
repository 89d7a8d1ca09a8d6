package probe

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tutti/netdriver/netns"
)

// Bound is a socket that waits for others: a TCP socket that listens, or a UDP socket without a peer.
type Bound struct {
	Proto string // "tcp" or "udp"
	// Addr may be unspecified: :: stands for IPv4 too, unless the socket is for IPv6 alone, which the kernel does not tell
	// here. IPv4 addresses of IPv6 sockets are IPv4 addresses.
	Addr netip.AddrPort
}

// Takes tells whether what is sent to an address would come to the socket.
func (b Bound) Takes(proto string, to netip.AddrPort) bool {
	a := b.Addr.Addr()
	return b.Proto == proto && b.Addr.Port() == to.Port() && (a == to.Addr() || a.IsUnspecified() && (a.Is6() || to.Addr().Is4()))
}

// Sockets lists what waits in a namespace.
func Sockets(ns *netns.NS) ([]Bound, error) {
	var all []Bound
	err := ns.Do(func() error {
		for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
			more, err := readTable(table)
			if err != nil {
				return err
			}
			all = append(all, more...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the sockets of a network namespace: %w", err)
	}
	return all, nil
}

// readTable reads one of the tables of the thread's namespace; that of a kernel without IPv6 is empty.
func readTable(table string) (all []Bound, err error) {
	f, err := os.Open(filepath.Join("/proc/thread-self/net", table))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if b, ok := readBound(strings.TrimSuffix(table, "6"), lines.Text()); ok {
			all = append(all, b)
		}
	}
	return all, lines.Err()
}

// readBound reads a line of /proc/net/tcp or udp, see proc_net(5). Other lines, the first among them, are not ok.
func readBound(proto, line string) (b Bound, ok bool) {
	const local, remote, state = 1, 2, 3
	const listens, unconnected = "0A", "07" // TCP_LISTEN, TCP_CLOSE
	fields := strings.Fields(line)
	if len(fields) <= state || fields[state] != map[string]string{"tcp": listens, "udp": unconnected}[proto] || !strings.HasSuffix(fields[remote], ":0000") {
		return b, false
	}
	host, port, _ := strings.Cut(fields[local], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return b, false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return b, false
	}
	for i := 0; i < len(raw); i += 4 { // words in the machine's byte order
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return Bound{proto, netip.AddrPortFrom(addr.Unmap(), uint16(n))}, ok
}
