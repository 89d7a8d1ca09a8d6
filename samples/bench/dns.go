package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/probe"
)

// resolverAddress is where containers find their resolver.
const resolverAddress = "127.0.0.11"

var (
	perSecond = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	completed = regexp.MustCompile(`Queries completed:\s+([0-9]+)`)
)

// queries is how many queries for a neighbour's name the resolver answers in a second.
func (b *netBench) queries(w way) (float64, error) { return b.dnsperf(w, perSecond) }

// resolverTime is how much of a processor the resolver takes for a query, in µs: what a busy machine changes least. The
// time of the whole peer is counted; it does nothing else meanwhile.
func (b *netBench) resolverTime(w way) (float64, error) {
	before, err := w.peer.processorTime()
	if err != nil {
		return 0, err
	}
	n, err := b.dnsperf(w, completed)
	if err != nil {
		return 0, err
	}
	after, err := w.peer.processorTime()
	return float64(after-before) / float64(time.Microsecond) / n, err
}

// dnsperf asks the resolver of a container as fast as it answers, and returns one of the figures that it found.
func (b *netBench) dnsperf(w way, figure *regexp.Regexp) (float64, error) {
	file := filepath.Join(b.work, "queries")
	if err := os.WriteFile(file, []byte("far A\n"), 0o600); err != nil {
		return 0, err
	}
	out, err := b.run(w.from, "dnsperf", "-s", resolverAddress, "-d", file, "-l", seconds, "-c", "8", "-q", "200")
	if err != nil {
		return 0, err
	}
	found := figure.FindStringSubmatch(out)
	if found == nil || !strings.Contains(out, "NOERROR") {
		return 0, fmt.Errorf("dnsperf: %s", out)
	}
	return strconv.ParseFloat(found[1], 64)
}

// echo is what the resolvers are compared with: a program that does no more than read a query and send an answer, in a
// namespace of its own.
func (b *netBench) echo() (way, error) {
	path, err := b.namespace()
	if err != nil {
		return way{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return way{}, err
	}
	cmd, err := b.start(path, self, "-echo-dns", net.JoinHostPort(resolverAddress, "53"))
	if err != nil {
		return way{}, err
	}
	own := &peer{name: "echo", owned: func(p process) bool { return p.pid == cmd.Process.Pid }}
	return way{name: own.name, from: path, peer: own}, listening(path, func(s probe.Bound) bool { return s.Proto == "udp" && s.Addr.Port() == 53 })
}

// answerAlike answers every query with the same address, a packet at a time, without Go's poller. It runs until it is killed.
func answerAlike(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return err
	}
	record := []byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 192, 0, 2, 1} // the question's name, A, IN, 600 s
	buf := make([]byte, 1280)
	for {
		n, from, err := unix.Recvfrom(fd, buf[:cap(buf)-len(record)], 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n < 12 {
			continue
		}
		copy(buf[2:], []byte{0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}) // an answer without an error: one question, one record
		_ = unix.Sendto(fd, append(buf[:n], record...), 0, from)
	}
}
