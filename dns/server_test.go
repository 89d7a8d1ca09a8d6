package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// malformedRequests maps packets to the rcode of their answer, -1 for none.
var malformedRequests = map[string]int{
	"":             -1,
	"\x12":         -1,
	"\x12\x34\x01": -1,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00":                                                                                     -1,
	"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01":                                                      -1, // an answer
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00":                                                                                 1,  // no question
	"\x12\x34\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00":                                                                                 1,
	"\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01\x03web\x00\x00\x01\x00\x01":                           1, // two questions
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web":                                                                          1,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x3fweb\x00\x00\x01\x00\x01":                                                      1,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01":                                                         1, // a pointer to itself
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x41" + "web\x00\x00\x01\x00\x01":                                                 1,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00":                                                          1,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01tail":                                                  1,
	"\x12\x34\x01\x00\x00\x01\xff\xff\xff\xff\xff\xff\x03web\x00\x00\x01\x00\x01":                                                      1, // 196,605 records that are not there
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\xff\xff":          1, // OPT longer than the packet
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x00\x00\x01\x00\x01\x01a\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00":     1, // OPT with a name
	"\x12\x34\x01\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00":          1, // OPT as an answer
	"\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x06\x00\x01":                                                      4, // UPDATE
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01":                                                      0,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00":          0,
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x03\x01\x02x": 0, // an option inside
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x02\x03web\x00\x00\x01\x00\x01" +
		"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00": 1, // two OPT
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.Set(theTable())
	conn, err := net.Dial("udp", serveOn(t, s, "web"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The probe behind each packet tells that nothing was sent for it, and that the server lives.
	probe, err := new(mdns.Msg).SetQuestion("api.", mdns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for packet, rcode := range malformedRequests {
		var got []int
		for _, msg := range [][]byte{[]byte(packet), probe} {
			if _, err := conn.Write(msg); err != nil {
				t.Fatal(err)
			}
		}
		for {
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if string(buf[:2]) == string(probe[:2]) {
				break
			}
			if err := new(mdns.Msg).Unpack(buf[:n]); err != nil {
				t.Errorf("%q: unreadable answer %q: %v", packet, buf[:n], err)
			}
			got = append(got, int(buf[3]&15))
		}
		if rcode < 0 && len(got) != 0 || rcode >= 0 && fmt.Sprint(got) != fmt.Sprint([]int{rcode}) {
			t.Errorf("%q: answered %v, want %d", packet, got, rcode)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.Set(theTable())
	at := serveOn(t, s, "web")
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, _ := new(mdns.Msg).SetQuestion("web.", mdns.TypeA).Pack()
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	if _, err := conn.Write(append(framed, framed...)); err != nil { // two at once
		t.Fatal(err)
	}
	for range 2 {
		if answer, err := readStream(conn, maxStreamAnswer); err != nil || new(mdns.Msg).Unpack(answer) != nil {
			t.Fatalf("answer %q: %v", answer, err)
		}
	}
	if _, err := conn.Write([]byte{0xff, 0xff}); err != nil { // announces 64 KiB
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("oversized request: %v, want the connection closed", err)
	}
	s.Remove("web")
	if conn, err := net.Dial("tcp", at); err == nil {
		_ = conn.Close()
		t.Error("still accepting after Remove")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.Set(theTable())
	at := serveOn(t, s, "web")
	var first net.Conn
	for i := range maxStreamsPerClient + 1 {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i == 0 {
			first = conn
		}
		if i == maxStreamsPerClient { // accepted in order: this one is too many
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("one connection too many is served")
			}
		}
	}
	_ = first.Close()
	deadline := time.Now().Add(2 * time.Minute)
	for { // a place is free once the server saw the end of the first
		client := &mdns.Client{Net: "tcp", Timeout: 5 * time.Second}
		if _, _, err := client.Exchange(new(mdns.Msg).SetQuestion("web.", mdns.TypeA), at); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no place was freed")
		}
	}
}

// Removing a client that waits for a silent upstream must not wait for it.
func TestRemoveIsQuick(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{Upstreams: use(silentPort(t)), Timeout: time.Minute})
	s.Set(NewTable(nil, []Client{{ID: "c"}}))
	at := serveOn(t, s, "c")
	conn, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, _ := new(mdns.Msg).SetQuestion("example.org.", mdns.TypeA).Pack()
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	for s.active.Load() == 0 {
		runtime.Gosched()
	}
	start := time.Now()
	s.Remove("c")
	s.Remove("c")
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	if n := s.active.Load(); n != 0 {
		t.Errorf("%d forwards left", n)
	}
}

func TestForwardsAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{Upstreams: use(silentPort(t)), Timeout: time.Minute})
	s.Set(NewTable(nil, []Client{{ID: "c"}}))
	c := bareClient(t, s, "c")
	for range maxForwardsPerClient {
		if !c.acquire() {
			t.Fatal("refused below the limit")
		}
	}
	request, _ := new(mdns.Msg).SetQuestion("example.org.", mdns.TypeA).Pack()
	answer, forward := c.respond(c.view(), request, &query{}, false)
	if forward || answer[3]&15 != mdns.RcodeRefused {
		t.Errorf("answer %q, forward %t", answer, forward)
	}
	c.release()
	if !c.acquire() {
		t.Error("a place that was given back is not to be had")
	}
}

func TestServeReplacesAndCloses(t *testing.T) {
	t.Parallel()
	s := New(t.Context(), Config{Log: quiet})
	s.Set(theTable())
	old := serveOn(t, s, "web")
	at := serveOn(t, s, "web")
	ask(t, "udp", at, "web.", mdns.TypeA)
	if conn, err := net.Dial("tcp", old); err == nil {
		_ = conn.Close()
		t.Error("the replaced sockets are open")
	}
	s.Close()
	s.Close()
	udp, tcp := listen(t)
	if err := s.Serve("late", udp, tcp); !errors.Is(err, errClosed) {
		t.Errorf("served by a closed server: %v", err)
	}
	if conn, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("a closed server serves")
	}
}

func FuzzRespond(f *testing.F) {
	for packet := range malformedRequests {
		f.Add([]byte(packet))
	}
	for _, name := range []string{"_80._tcp.web.", "_http._tcp.WEB.shop_net.", "_443._tcp.web.", "_81._udp.db."} {
		for _, qtype := range []uint16{mdns.TypeSRV, mdns.TypeA, mdns.TypeANY} {
			packet, err := new(mdns.Msg).SetQuestion(name, qtype).SetEdns0(1232, true).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet)
		}
	}
	s := New(f.Context(), Config{Log: quiet})
	defer s.Close()
	s.Set(servicesTable())
	c := bareClient(f, s, "web")
	q := &query{}
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, stream := range []bool{false, true} {
			msg := append(make([]byte, 0, len(packet)+packetBuffer), packet...)
			answer, forward := c.respond(c.view(), msg, q, stream)
			if forward {
				c.release()
			}
			if answer == nil {
				continue
			}
			if !stream && len(answer) > max(udpPayload, len(packet)) {
				t.Errorf("%d bytes for %q", len(answer), packet)
			}
			read := new(mdns.Msg)
			if err := read.Unpack(answer); err != nil {
				t.Errorf("unreadable answer %q to %q: %v", answer, packet, err)
			}
			if !whole(answer) {
				t.Errorf("the counts of the answer %q to %q are wrong", answer, packet)
			}
			if len(read.Question) == 1 && (read.IsEdns0() != nil) != (q.opt != 0) {
				t.Errorf("OPT in the answer %q to %q", answer, packet)
			}
			if answer[0] != packet[0] || answer[1] != packet[1] || answer[2]&0x80 == 0 {
				t.Errorf("answer %q to %q", answer, packet)
			}
		}
	})
}

// whole tells whether the records that a header counts are all that follows.
func whole(msg []byte) bool {
	off := headerLen
	for range binary.BigEndian.Uint16(msg[4:]) {
		if off = skipName(msg, off); off < 0 {
			return false
		}
		off += 4
	}
	records := 0
	for i := 6; i < headerLen; i += 2 {
		records += int(binary.BigEndian.Uint16(msg[i:]))
	}
	for range records {
		if off = skipName(msg, off); off < 0 || off+10 > len(msg) {
			return false
		}
		off += 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
	}
	return off == len(msg)
}

// FuzzUpstreamAnswer has an upstream send anything.
func FuzzUpstreamAnswer(f *testing.F) {
	request, err := new(mdns.Msg).SetQuestion("web.", mdns.TypeA).SetEdns0(600, false).Pack()
	if err != nil {
		f.Fatal(err)
	}
	q := &query{}
	if parseQuery(request, q) != wellFormed {
		f.Fatal("the request is not well formed")
	}
	f.Add(request)
	f.Add(append([]byte{request[0], request[1], 0x81, 0x80}, append(request[4:], make([]byte, 1000)...)...))
	f.Add([]byte{request[0], request[1], 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		buf := make([]byte, forwardBuffer)
		x := &exchange{request: append([]byte(nil), request...), q: q, buf: buf}
		answer, err := x.check(buf[:copy(buf, packet)])
		if err != nil {
			return
		}
		if answer = x.fit(answer); len(answer) > q.udpSize || len(answer) < headerLen || answer[2]&0x80 == 0 {
			t.Errorf("%d bytes: %q", len(answer), answer)
		}
	})
}
