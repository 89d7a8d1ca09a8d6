package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stream is the throughput of one TCP connection in Gbit/s.
func (b *netBench) stream(w way) (float64, error) {
	out, err := b.run(w.from, "iperf3", "-c", w.address, "-p", strconv.Itoa(w.stream), "-t", seconds, "-J")
	if err != nil {
		return 0, err
	}
	var report struct {
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return 0, fmt.Errorf("read iperf3's report: %w", err)
	}
	return report.End.Received.BitsPerSecond / 1e9, nil
}

// roundTrip is the median of how long a byte takes there and back, in µs.
func (b *netBench) roundTrip(w way) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, err := b.run(w.from, self, "-ping", net.JoinHostPort(w.address, strconv.Itoa(w.pong)))
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

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
	out, err := b.run(w.from, "dnsperf", "-s", "127.0.0.11", "-d", file, "-l", seconds, "-c", "8", "-q", "200")
	if err != nil {
		return 0, err
	}
	found := figure.FindStringSubmatch(out)
	if found == nil || !strings.Contains(out, "NOERROR") {
		return 0, fmt.Errorf("dnsperf: %s", out)
	}
	return strconv.ParseFloat(found[1], 64)
}

// pong sends every byte of every connection back. It runs until it is killed.
func pong(port string) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // ends with the client
		}()
	}
}

// roundTrips is how many round trips make one measurement.
const roundTrips = 20000

// ping prints the median of round trips to a pong in µs.
func ping(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	var times []time.Duration
	b := []byte{0}
	for range roundTrips {
		began := time.Now()
		if _, err := conn.Write(b); err != nil {
			return err
		}
		if n, err := conn.Read(b); n != 1 {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	fmt.Println(float64(times[len(times)/2]) / float64(time.Microsecond))
	return nil
}
