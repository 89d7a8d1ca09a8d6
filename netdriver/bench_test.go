package netdriver

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
	"tutti/netdriver/rtnl"
)

// BenchmarkAttach100 wires 100 containers to one network, namespaces made before.
func BenchmarkAttach100(b *testing.B) {
	l := newLab(b, "")
	d := l.driver()
	n := l.network(d, "net", nil)
	var used processorTime
	var cleanup time.Duration
	for b.Loop() {
		b.StopTimer()
		spaces := make([]*netns.NS, 100)
		for i := range spaces {
			var err error
			spaces[i], err = netns.New()
			l.must(err)
		}
		used.begin(b)
		b.StartTimer()
		for i, ns := range spaces {
			_, err := d.Attach(b.Context(), fmt.Sprint(i), ns, []EndpointSpec{{NetworkID: n.ID, DefaultRoute: true}})
			l.must(err)
		}
		b.StopTimer()
		used.end(b)
		for i, ns := range spaces {
			ns.Close()
			l.must(d.Detach(b.Context(), fmt.Sprint(i)))
		}
		start := time.Now()
		l.must(d.Flush(b.Context()))
		cleanup += time.Since(start)
		b.StartTimer()
	}
	used.report(b)
	b.ReportMetric(cleanup.Seconds()*1000/float64(b.N), "cleanup-ms/op")
}

// processorTime is what the rounds of a benchmark take of a processor. Other load makes it longer, but less than it makes
// the time that passes; the shortest of many rounds is nearest to what the work takes alone.
type processorTime struct {
	began, total, best time.Duration
}

func (p *processorTime) begin(b *testing.B) { p.began = cpu(b) }

func (p *processorTime) end(b *testing.B) {
	took := cpu(b) - p.began
	p.total += took
	if p.best == 0 || took < p.best {
		p.best = took
	}
}

func (p *processorTime) report(b *testing.B) {
	b.ReportMetric(p.total.Seconds()*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(p.best.Seconds()*1000, "best-cpu-ms")
}

// cpu returns the processor time of the process so far, in the kernel and outside.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkNetwork makes a network, the first of a host, with its rules; then removes it.
func BenchmarkNetwork(b *testing.B) {
	l := newLab(b, "")
	d := l.driver()
	for b.Loop() {
		n := l.network(d, "net", nil)
		b.StopTimer()
		l.must(d.RemoveNetwork(b.Context(), n.ID))
		l.must(d.Flush(b.Context()))
		b.StartTimer()
	}
}

// BenchmarkPublish publishes a port of a container.
func BenchmarkPublish(b *testing.B) {
	l := newLab(b, "")
	d := l.driver()
	n := l.network(d, "net", nil)
	for b.Loop() {
		b.StopTimer()
		l.box(d, "box", n)
		b.StartTimer()
		_, err := d.Publish(b.Context(), "box", []PortSpec{{HostPort: 8080, ContainerPort: 80}})
		l.must(err)
		b.StopTimer()
		l.must(d.Detach(b.Context(), "box"))
		l.must(d.Flush(b.Context()))
		b.StartTimer()
	}
}

// BenchmarkFloor100 makes what 100 containers need of the kernel, and nothing else: for each its pair of links, one end in a
// bridge, an address, a default route, both loopback and the link up. The same requests as [BenchmarkAttach100] sends, as
// fast as they can be sent, with sockets that are open already: what the kernel itself takes for them. Of that, "links" is to make
// the pairs of links and to connect them with the bridge: one request for each.
func BenchmarkFloor100(b *testing.B) {
	l := newLab(b, "")
	d := l.driver()
	n := d.lookup(l.network(d, "net", nil).ID)
	var used, links processorTime
	for b.Loop() {
		b.StopTimer()
		ends := make([]*endpoint, 100)
		spaces := make([]*inside, 100)
		for i := range spaces {
			ns, err := netns.New()
			l.must(err)
			socket, err := rtnl.Open(ns)
			l.must(err)
			spaces[i] = &inside{ns: ns, socket: socket}
			ip := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 18, 1, byte(i + 1)}), 16)
			ends[i] = &endpoint{network: n, Endpoint: Endpoint{
				Interface: "eth0", HostInterface: fmt.Sprintf("tvab12%08x", i), IPv4: ip, MAC: macOf(ip.Addr()), Gateway: n.Gateway(true), DefaultRoute: true,
			}}
		}
		used.begin(b)
		b.StartTimer()
		links.begin(b)
		for i, in := range spaces {
			l.must(d.addVeth(ends[i], int(n.index.Load()), in.ns))
		}
		links.end(b)
		for i, in := range spaces {
			l.must(in.socket.SetUp("lo"))
			l.must(in.configure(ends[i]))
		}
		b.StopTimer()
		used.end(b)
		var names []string
		for i, in := range spaces {
			in.close()
			in.ns.Close()
			names = append(names, ends[i].HostInterface)
		}
		d.bin.put(waste{links: names})
		l.must(d.Flush(b.Context()))
		b.StartTimer()
	}
	used.report(b)
	b.ReportMetric(links.best.Seconds()*1000, "links-best-cpu-ms")
}

// BenchmarkAttach1000 fills a bridge and reports what the first and the last hundred of its containers take: what a link
// costs must not depend on how many there are.
func BenchmarkAttach1000(b *testing.B) {
	l := newLab(b, "")
	d := l.driver()
	n := l.network(d, "net", nil)
	var hundreds [10]processorTime
	for b.Loop() {
		for h := range hundreds {
			b.StopTimer()
			spaces := make([]*netns.NS, 100)
			for i := range spaces {
				var err error
				spaces[i], err = netns.New()
				l.must(err)
				b.Cleanup(spaces[i].Close)
			}
			hundreds[h].begin(b)
			b.StartTimer()
			for i, ns := range spaces {
				_, err := d.Attach(b.Context(), fmt.Sprint(h, i), ns, []EndpointSpec{{NetworkID: n.ID, DefaultRoute: true}})
				l.must(err)
			}
			hundreds[h].end(b)
		}
		b.StopTimer()
		for h := range hundreds {
			for i := range 100 {
				l.must(d.Detach(b.Context(), fmt.Sprint(h, i)))
			}
		}
		l.must(d.Flush(b.Context()))
		b.StartTimer()
	}
	for h, p := range hundreds {
		b.ReportMetric(p.best.Seconds()*1000, fmt.Sprintf("cpu-ms-hundred-%d", h))
	}
}
