package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
