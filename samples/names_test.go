package samples

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tutti/netdriver/netns"
	"tutti/scheduler/container"
)

// resolverAddress is where every container finds the resolver.
const resolverAddress = "127.0.0.11:53"

// dialIn connects from inside the network namespace of a process.
func dialIn(t testing.TB, pid int, network, address string) *dns.Conn {
	t.Helper()
	ns, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	conn, err := ns.Dial(t.Context(), network, netip.MustParseAddrPort(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
}

// lookUp asks the resolver from inside a container and describes the answer: its code unless that is NOERROR, then the
// data of its records, sorted.
func lookUp(t testing.TB, pid int, network, name string, qtype uint16) string {
	t.Helper()
	in, _, err := (&dns.Client{Timeout: 20 * time.Second}).ExchangeWithConn(new(dns.Msg).SetQuestion(name, qtype), dialIn(t, pid, network, resolverAddress))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var all []string
	for _, rr := range in.Answer {
		if rr.Header().Name != name {
			t.Errorf("the answer to %s is for %s", name, rr.Header().Name)
		}
		switch r := rr.(type) {
		case *dns.A:
			all = append(all, r.A.String())
		case *dns.AAAA:
			all = append(all, r.AAAA.String())
		case *dns.PTR:
			all = append(all, r.Ptr)
		case *dns.SRV:
			all = append(all, fmt.Sprintf("%d %s", r.Port, r.Target))
		case *dns.TXT:
			all = append(all, strings.Join(r.Txt, ""))
		}
	}
	slices.Sort(all)
	if in.Rcode != dns.RcodeSuccess {
		all = append([]string{dns.RcodeToString[in.Rcode]}, all...)
	}
	return strings.Join(all, " ")
}

// nameserver answers on an address of the neighbour: every name below test. has the TXT record given, others do not exist.
func (m *machine) nameserver(address, text string) {
	m.t.Helper()
	var udp net.PacketConn
	var tcp net.Listener
	err := m.in(m.neighbour, func() (err error) {
		if udp, err = net.ListenPacket("udp", address); err != nil {
			return err
		}
		tcp, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	handle := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if strings.HasSuffix(strings.ToLower(q.Question[0].Name), ".test.") {
			a.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}}
		} else {
			a.SetRcode(q, dns.RcodeNameError)
		}
		_ = w.WriteMsg(a)
	})
	var wg sync.WaitGroup
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handle}, {Listener: tcp, Handler: handle}} {
		wg.Go(func() { _ = s.ActivateAndServe() }) // ends with its socket
	}
	m.t.Cleanup(func() {
		_ = errors.Join(udp.Close(), tcp.Close())
		wg.Wait()
	})
}

const namesProject = `
name: names
services:
  web:
    image: busybox:latest
    command: sleep 1000
    stop_grace_period: 0s
    hostname: Www
    expose: ["80"]
    networks:
      front: {aliases: [shop.example]}
  api:
    image: busybox:latest
    command: sleep 1000
    stop_grace_period: 0s
    scale: 2
    ports:
      - {name: http, target: 8080}
    networks: [front, back]
  db:
    image: busybox:latest
    command: sleep 1000
    stop_grace_period: 0s
    container_name: the-db
    expose: ["5432", "53/udp"]
    networks: [back]
  own:
    image: busybox:latest
    command: sleep 1000
    stop_grace_period: 0s
    networks: [front]
    dns: [10.8.0.1]
networks:
  front: {enable_ipv6: true, ipam: {config: [{subnet: fd00:7::/64}]}}
  back: {internal: true}
`

// What resolves for whom, and what somebody else is asked for. The names of a table's rows may hold <container/network>,
// which stands for an address there, and <container> for a short id.
func TestNames(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.nameserver(neighbourAddress+":53", "from the host's server")
	s.host.sh(s.host.neighbour, "ip addr add 10.8.0.1/32 dev lo")
	s.host.nameserver("10.8.0.1:53", "from the private network")
	s.write("compose.yaml", namesProject)
	s.must("up", "-d")

	pids, words := map[string]int{}, []string{}
	for _, r := range s.records() {
		pids[r.Name] = r.State.Pid
		words = append(words, "<"+r.Name+">", r.ID[:12])
		for _, p := range r.State.Endpoints {
			network := strings.TrimPrefix(p.Network, "names_")
			words = append(words, "<"+r.Name+"/"+network+">", p.IPv4.Addr().String(), "<"+r.Name+"/"+network+"/6>", p.IPv6.Addr().String())
			arpa, _ := dns.ReverseAddr(p.IPv4.Addr().String())
			words = append(words, "<"+r.Name+"/"+network+"/arpa>", arpa)
			if p.IPv6.IsValid() {
				arpa, _ := dns.ReverseAddr(p.IPv6.Addr().String())
				words = append(words, "<"+r.Name+"/"+network+"/6/arpa>", arpa)
			}
		}
	}
	expand := strings.NewReplacer(words...)
	for _, row := range namesTable {
		name := expand.Replace(row.name)
		want := expand.Replace(row.want)
		if strings.HasPrefix(row.want, "<") {
			list := strings.Fields(want)
			slices.Sort(list)
			want = strings.Join(list, " ")
		}
		for _, network := range []string{"udp", "tcp"} {
			if got := lookUp(t, pids[row.from], network, name, row.qtype); got != want {
				t.Errorf("%s asks over %s for %s %s: %q, want %q", row.from, network, name, dns.TypeToString[row.qtype], got, want)
			}
		}
	}
	s.followUpstreams(pids["names-web-1"])
	s.must("down")
}

var namesTable = []struct {
	from, name string
	qtype      uint16
	want       string
}{
	// A service, by all its names, in any case, with and without its network's.
	{"names-api-1", "web.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "WeB.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "web.", dns.TypeAAAA, "<names-web-1/front/6>"},
	{"names-api-1", "web.names_front.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "names-web-1.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "shop.example.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "www.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "<names-web-1>.", dns.TypeA, "<names-web-1/front>"},
	{"names-api-1", "the-db.", dns.TypeA, "<the-db/back>"},
	{"names-web-1", "web.", dns.TypeA, "<names-web-1/front>"},
	// All replicas, each on the network that is shared.
	{"names-web-1", "api.", dns.TypeA, "<names-api-1/front> <names-api-2/front>"},
	{"the-db", "api.", dns.TypeA, "<names-api-1/back> <names-api-2/back>"},
	{"the-db", "names-api-2.", dns.TypeA, "<names-api-2/back>"},
	// A type that it has not: the name exists all the same, and nobody else is asked.
	{"names-web-1", "web.", dns.TypeMX, ""},
	{"names-web-1", "web.", dns.TypeTXT, ""},
	{"names-api-1", "db.", dns.TypeAAAA, ""},
	// No network shared, no name; on an internal network nobody else is asked.
	{"names-web-1", "db.", dns.TypeA, "NXDOMAIN"},
	{"the-db", "web.", dns.TypeA, "SERVFAIL"},
	{"the-db", "somewhere.test.", dns.TypeTXT, "SERVFAIL"},
	// Back from the address.
	{"names-api-1", "<names-web-1/front/arpa>", dns.TypePTR, "names-web-1.names_front."},
	{"names-api-1", "<names-web-1/front/6/arpa>", dns.TypePTR, "names-web-1.names_front."},
	{"names-web-1", "<the-db/back/arpa>", dns.TypePTR, "NXDOMAIN"},
	// Services by their ports.
	{"names-web-1", "_http._tcp.api.", dns.TypeSRV, "8080 names-api-1.names_front. 8080 names-api-2.names_front."},
	{"the-db", "_8080._tcp.names-api-2.", dns.TypeSRV, "8080 names-api-2.names_back."},
	{"names-api-1", "_5432._tcp.db.", dns.TypeSRV, "5432 the-db.names_back."},
	{"names-api-1", "_53._udp.db.", dns.TypeSRV, "53 the-db.names_back."},
	{"names-api-1", "_53._tcp.db.", dns.TypeSRV, "NXDOMAIN"},
	// The rest is for others: the host's servers, or a service's own, from inside its network.
	{"names-web-1", "somewhere.test.", dns.TypeTXT, "from the host's server"},
	{"names-own-1", "somewhere.test.", dns.TypeTXT, "from the private network"},
	{"names-own-1", "web.", dns.TypeA, "<names-web-1/front>"},
}

// followUpstreams changes the host's resolv.conf: the next query goes where it leads.
func (s *site) followUpstreams(pid int) {
	s.t.Helper()
	for _, c := range []struct{ servers, want string }{
		{"10.8.0.1", "from the private network"},
		{"192.0.2.99 10.8.0.1", "from the private network"}, // nobody is there
		{neighbourAddress, "from the host's server"},
	} {
		script := ": > /etc/resolv.conf; for a in " + c.servers + "; do echo nameserver $a >> /etc/resolv.conf; done"
		s.host.sh(s.host.pid, script)
		if got := lookUp(s.t, pid, "udp", "somewhere.test.", dns.TypeTXT); got != c.want {
			s.t.Errorf("with the servers %s: %q, want %q", c.servers, got, c.want)
		}
	}
}

// asker asks for names from inside a container until it is stopped, as a program with a resolver of a C library does:
// again when there is no answer.
type asker struct {
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	asked  int
	failed []string
}

func (a *asker) run(t testing.TB, pid int, names ...string) {
	conns := map[string]*dns.Conn{}
	for _, name := range names {
		conns[name] = dialIn(t, pid, "udp", resolverAddress)
	}
	for name, conn := range conns {
		a.done.Go(func() {
			client := &dns.Client{Timeout: 500 * time.Millisecond}
			answered := time.Now()
			for {
				select {
				case <-a.stop:
					return
				case <-time.After(time.Millisecond): // leaves the machine to others
				}
				in, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), conn)
				a.mu.Lock()
				a.asked++
				switch {
				case err == nil && (in.Rcode != dns.RcodeSuccess || len(in.Answer) == 0):
					a.failed = append(a.failed, fmt.Sprintf("%s: %s with %d addresses", name, dns.RcodeToString[in.Rcode], len(in.Answer)))
				case err == nil:
					answered = time.Now()
				case time.Since(answered) > 30*time.Second:
					a.failed = append(a.failed, fmt.Sprintf("%s: no answer for half a minute: %v", name, err))
					answered = time.Now()
				}
				a.mu.Unlock()
			}
		})
	}
}

// While services are made anew, scaled, restarted, and while the engine is killed, there is no moment at which they do not
// resolve. What is stopped resolves no more when the command has ended.
func TestNamesHaveNoGaps(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.nameserver(neighbourAddress+":53", "unused")
	s.write("compose.yaml", `
name: gaps
services:
  client:
    image: busybox:latest
    command: sleep 10000
    stop_grace_period: 0s
    links: ["web:site"]
  web:
    image: busybox:latest
    command: sleep 10000
    stop_grace_period: 0s
    networks:
      default: {aliases: [shop.example]}
  api:
    image: busybox:latest
    command: sleep 10000
    stop_grace_period: 0s
    scale: 2
`)
	s.must("up", "-d")
	pid := s.record("client").State.Pid
	a := &asker{stop: make(chan struct{})}
	a.run(t, pid, "web.", "gaps-web-1.", "shop.example.", "site.", "api.")
	for _, command := range [][]string{
		{"up", "-d", "--force-recreate", "--no-deps", "web", "api"},
		{"up", "-d", "--no-recreate", "--scale", "api=4"},
		{"up", "-d", "--no-recreate", "--scale", "api=1"},
		{"restart", "--no-deps", "web", "api"},
		{"kill engine"},
		{"up", "-d", "--force-recreate", "--no-deps", "web"},
	} {
		if command[0] == "kill engine" {
			before := s.engine()
			if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, commandTimeout, func() error {
				if pid := s.enginePID(); pid == 0 || pid == before {
					return os.ErrNotExist
				}
				return nil
			})
		} else {
			s.must(command...)
		}
		a.mu.Lock()
		for _, f := range slices.Compact(a.failed) {
			t.Errorf("%s: %s", strings.Join(command, " "), f)
		}
		a.failed = nil
		a.mu.Unlock()
	}
	close(a.stop)
	a.done.Wait()
	if a.asked < 100 {
		t.Errorf("only %d lookups", a.asked)
	}
	s.must("stop", "web")
	for _, name := range []string{"web.", "gaps-web-1.", "shop.example.", "site."} {
		if got := lookUp(t, pid, "udp", name, dns.TypeA); got != "NXDOMAIN" {
			t.Errorf("after stop, %s: %q", name, got)
		}
	}
	var api container.Record
	for _, r := range s.records() {
		if r.Service == "api" {
			api = r
		}
	}
	if err := syscall.Kill(api.State.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, commandTimeout, func() error {
		if got := lookUp(t, pid, "udp", "api.", dns.TypeA); got != "NXDOMAIN" {
			return fmt.Errorf("api was killed: %q", got)
		}
		return nil
	})
	s.must("down", "-t", "0")
}
