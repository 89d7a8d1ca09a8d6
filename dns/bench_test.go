package dns

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

func packed(b *testing.B, name string) []byte {
	b.Helper()
	m := new(mdns.Msg).SetQuestion(name, mdns.TypeA)
	m.SetEdns0(1232, false)
	p, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// BenchmarkRespond is the work per query without the system calls.
func BenchmarkRespond(b *testing.B) {
	s := newServer(b, Config{})
	s.Set(theTable())
	c := bareClient(b, s, "api")
	request := packed(b, "web.")
	buf := make([]byte, packetBuffer)
	q := &query{}
	b.ReportAllocs()
	for b.Loop() {
		if answer, _ := c.respond(c.view(), buf[:copy(buf, request)], q, false); len(answer) < 40 {
			b.Fatal(answer)
		}
	}
}

// BenchmarkUDP has one client that keeps 64 queries under way, dnsperf's habit. Beside
// ours stands a bare server of the library that docker's resolver uses. cpu-ns/query is
// the processor time of client and server together, which a busy machine changes least.
func BenchmarkUDP(b *testing.B) {
	b.Run("tutti", func(b *testing.B) {
		s := newServer(b, Config{})
		s.Set(theTable())
		benchmarkUDP(b, serveOn(b, s, "api"))
	})
	b.Run("miekg", func(b *testing.B) { benchmarkUDP(b, newUpstream(b, echo).addr.String()) })
}

func benchmarkUDP(b *testing.B, server string) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := packed(b, "web.")
	places := make(chan struct{}, 64)
	received := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	go func() {
		buf := make([]byte, packetBuffer)
		for range b.N {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Read(buf); err != nil {
				received <- err
				return
			}
			<-places
		}
		received <- nil
	}()
	for range b.N {
		places <- struct{}{}
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-received; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/query")
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkForward is one query after the other through a real upstream.
func BenchmarkForward(b *testing.B) {
	up := newUpstream(b, echo)
	conn, err := net.Dial("udp", forwarding(b, Config{Upstreams: use(up.addr)}))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := packed(b, "example.org.")
	buf := make([]byte, packetBuffer)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewTable is what one change costs with 500 containers of three names on one network.
func BenchmarkNewTable(b *testing.B) {
	var records []Record
	var clients []Client
	for i := range 500 {
		addr := []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
		for _, name := range []string{fmt.Sprintf("shop-s%d-1", i), fmt.Sprintf("s%d", i), fmt.Sprintf("%012x", i)} {
			records = append(records, Record{NetworkID: "n", NetworkName: "shop_default", Name: name, Addrs: addr})
		}
		clients = append(clients, Client{ID: fmt.Sprint(i), Networks: []string{"n"}})
	}
	b.ReportAllocs()
	for b.Loop() {
		NewTable(records, clients)
	}
}

// BenchmarkIdleClients reports what one idle client costs.
func BenchmarkIdleClients(b *testing.B) {
	s := newServer(b, Config{})
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := runtime.NumGoroutine()
		for i := range 500 {
			serveOn(b, s, fmt.Sprint(i))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse
		b.ReportMetric(float64(used)/500, "bytes/client")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/500, "goroutines/client")
		for i := range 500 {
			s.Remove(fmt.Sprint(i))
		}
	}
}
