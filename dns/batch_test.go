package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestPack has answers written as "client:size"; "-" is a request without an answer.
func TestPack(t *testing.T) {
	t.Parallel()
	many := strings.TrimSpace(strings.Repeat("a:1232 ", batchSize))
	for _, test := range []struct {
		answers string
		plain   bool
		want    string // messages by the numbers of the requests that they answer
	}{
		{answers: "", want: "[]"},
		{answers: "-", want: "[]"},
		{answers: "a:40", want: "[[0]]"},
		{answers: "a:40 a:40 a:40", want: "[[0 1 2]]"},
		{answers: "a:40 a:40 a:40", plain: true, want: "[[0] [1] [2]]"},
		{answers: "a:40 b:40 a:40 - b:40 a:40", want: "[[0 2 5] [1 4]]"},
		{answers: "a:40 a:28", want: "[[0 1]]"}, // what the C library asks: A and AAAA
		{answers: "a:28 a:40", want: "[[0] [1]]"},
		{answers: "a:40 a:28 a:40 a:28 a:12", want: "[[0 2 1] [3 4]]"},
		{answers: "a:40 a:41 b:12 a:40", want: "[[0 3] [1] [2]]"},
		{answers: many, want: fmt.Sprint([][]int{numbers(0, 52), numbers(52, batchSize)})}, // 53 would fit: a place is kept for a shorter one
	} {
		b := newBatch()
		fields := strings.Fields(test.answers)
		for i, f := range fields {
			client, size, _ := strings.Cut(f, ":")
			b.from[i].Port = uint16(client[0])
			b.size[i] = 0
			if size != "" {
				_, _ = fmt.Sscan(size, &b.size[i])
			}
		}
		if got := fmt.Sprint(messages(b, b.pack(len(fields), !test.plain))); got != test.want {
			t.Errorf("%s: packed as %s, want %s", test.answers, got, test.want)
		}
	}
}

// messages are the requests that each message answers, when its address and its control message are right.
func messages(b *batch, count int) [][]int {
	list := [][]int{}
	for i := range count {
		h := &b.out[i].header
		n := int(h.Iovlen)
		members := b.members[b.first[i]:][:n]
		if h.Iov != &b.outVec[b.first[i]] || (h.Control != nil) != (n > 1) || n > 1 && uint64(b.control[i].size) != b.outVec[b.first[i]].Len {
			return nil
		}
		list = append(list, members)
	}
	return list
}

func numbers(from, to int) (list []int) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}

// flood sends requests that ask for the names in turn, each with its number as the id, while the server is held back, so
// that they are answered in full batches, and reads the answers.
func flood(s *Server, at string, names []string, clients, each int) error {
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	if err := func() error {
		s.poller.mu.Lock()
		defer s.poller.mu.Unlock()
		for n := range clients {
			conn, err := net.Dial("udp", at)
			if err != nil {
				return err
			}
			conns = append(conns, conn)
			if err := sendMany(conn.(*net.UDPConn), names, n, each); err != nil {
				return err
			}
		}
		return nil
	}(); err != nil {
		return err
	}
	for n, conn := range conns {
		if err := receiveMany(conn, names, n, each); err != nil {
			return fmt.Errorf("client %d: %w", n, err)
		}
	}
	return nil
}

// sendMany sends requests for addresses, IPv4 and IPv6 in turn, with room for all answers.
func sendMany(conn *net.UDPConn, names []string, first, count int) error {
	raw, err := conn.SyscallConn()
	if err == nil {
		controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) })
		err = errors.Join(err, controlErr)
	}
	for i := 0; i < count && err == nil; i++ {
		m := new(mdns.Msg).SetQuestion(names[(first+i)%len(names)], []uint16{mdns.TypeA, mdns.TypeAAAA}[i%2]).SetEdns0(udpPayload, false)
		m.Id = uint16(i)
		var packet []byte
		if packet, err = m.Pack(); err == nil {
			_, err = conn.Write(packet)
		}
	}
	return err
}

// receiveMany reads the answers to sendMany, one for each.
func receiveMany(conn net.Conn, names []string, first, count int) error {
	buf := make([]byte, 4096)
	answered := map[uint16]bool{}
	for len(answered) < count {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		size, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("%d of %d answers: %w", len(answered), count, err)
		}
		in := new(mdns.Msg)
		if err := in.Unpack(buf[:size]); err != nil {
			return fmt.Errorf("answer %q: %w", buf[:size], err)
		}
		if want := names[(first+int(in.Id))%len(names)]; answered[in.Id] || in.Question[0].Name != want || in.Rcode != mdns.RcodeSuccess {
			return fmt.Errorf("answer to %d, which asked for %s (answered: %t): %v", in.Id, want, answered[in.Id], in)
		}
		answered[in.Id] = true
	}
	return nil
}

// manyTable has names with answers of many lengths, "big0." the longest with 60 addresses.
func manyTable() (*Table, []string) {
	var records []Record
	var names []string
	for i := range 8 {
		name := fmt.Sprintf("big%d", i)
		names = append(names, name+".")
		for k := range max(1, 60>>i) {
			records = append(records, Record{NetworkID: "n", Name: name, Addrs: addrs(fmt.Sprintf("10.0.%d.%d", i, k))})
		}
	}
	return NewTable(records, []Client{{ID: "web", Networks: []string{"n"}}}), names
}

// Answers of all lengths to several clients at a time reach who asked, and none is lost: a thousand queries find room.
func TestBatches(t *testing.T) {
	t.Parallel()
	table, names := manyTable()
	s := newServer(t, Config{})
	s.Set(table)
	at := serveOn(t, s, "web")
	if err := flood(s, at, names, 3, 100); err != nil {
		t.Fatal(err)
	}
	if err := flood(s, at, []string{"big7."}, 10, 100); err != nil {
		t.Fatal(err)
	}
	if !cutsDatagrams(s, "web") {
		t.Error("the answers were sent one by one")
	}
}

// Where the interface takes only packets that are smaller than an answer the kernel refuses to cut a datagram, and takes the
// answers one by one.
func TestBatchesWithoutSegments(t *testing.T) {
	t.Parallel()
	table, names := manyTable()
	s := newServer(t, Config{})
	s.Set(table)
	inNetns(t, func() error {
		if err := setMTU("lo", 600); err != nil {
			return err
		}
		return flood(s, serveOn(t, s, "web"), names, 3, 100)
	})
	if cutsDatagrams(s, "web") {
		t.Error("not even one answer was larger than the interface's packets")
	}
}

// A container that is a DNS server itself has the resolver on another port, to which its queries are redirected: what is cut
// must be led back too.
func TestBatchesRedirected(t *testing.T) {
	t.Parallel()
	table, names := manyTable()
	s := newServer(t, Config{})
	s.Set(table)
	inNetns(t, func() error {
		at := serveOn(t, s, "web")
		redirect := exec.CommandContext(t.Context(), "iptables", "-t", "nat", "-A", "OUTPUT", "-d", Listen.Addr().String(), "-p", "udp",
			"--dport", "53", "-j", "DNAT", "--to-destination", at)
		if out, err := redirect.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return flood(s, Listen.String(), names, 3, 100)
	})
	if !cutsDatagrams(s, "web") {
		t.Error("the answers were sent one by one")
	}
}

// cutsDatagrams says whether the kernel has cut all of a client's datagrams that were to be cut.
func cutsDatagrams(s *Server, id string) bool {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	return s.clients[id].segments
}

func setMTU(name string, mtu uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	link, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	link.SetUint32(mtu)
	return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, link)
}

// What comes in after the end of a server waits in the socket, when somebody else has it too, and is answered by the next.
func TestQueriesWaitForTheNextServer(t *testing.T) {
	t.Parallel()
	udp, tcp := listen(t)
	_ = tcp.Close()
	held, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	at := udp.LocalAddr().String()
	ctx, cancel := context.WithCancel(t.Context())
	first := New(ctx, Config{Log: quiet})
	first.Set(theTable())
	if err := first.Serve("web", udp, nil); err != nil {
		t.Fatal(err)
	}
	ask(t, "udp", at, "web.", mdns.TypeA)
	cancel() // not Close: an engine that ends does much in between
	first.poller.done.Wait()

	conn, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, _ := new(mdns.Msg).SetQuestion("web.", mdns.TypeA).Pack()
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := newServer(t, Config{})
	second.Set(theTable())
	if err := second.Serve("web", packetConn(t, held), nil); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	buf := make([]byte, packetBuffer)
	if n, err := conn.Read(buf); err != nil || binary.BigEndian.Uint16(buf[6:n]) == 0 {
		t.Fatalf("the query was not answered: %v", err)
	}
}

func packetConn(t *testing.T, f *os.File) *net.UDPConn {
	t.Helper()
	conn, err := net.FilePacketConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UDPConn)
}

// Clients come and go while others are being answered, on descriptors that those before them had.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	table, names := manyTable()
	s := newServer(t, Config{})
	s.Set(table)
	at := serveOn(t, s, "web")
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			udp, tcp := listen(t)
			conn, err := net.Dial("udp", udp.LocalAddr().String())
			if err != nil {
				t.Error(err)
				return
			}
			id := fmt.Sprint(i % 3) // some replace one that is there
			if err := s.Serve(id, udp, tcp); err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				_, _ = conn.Write([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01"))
			}
			if i%2 == 0 {
				s.Remove(id)
			}
			_ = conn.Close()
		}
	})
	for range 20 {
		if err := flood(s, at, names, 2, 50); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	others.Wait()
	if n, m := len(s.poller.clients), len(s.clients); n != m || n > 4 {
		t.Errorf("%d sockets of %d clients are waited for", n, m)
	}
}
