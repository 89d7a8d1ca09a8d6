package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tutti/netdriver/netns"
	"tutti/netdriver/probe"
)

// Ports of the servers wherever they run, and how long a measurement takes.
const (
	streamPort = 5201 // iperf3's own
	pongPort   = 5202
	seconds    = "2"
)

// way is one way to a server: from a namespace to an address and its ports.
type way struct {
	name         string // of the peer, or "direct veth"
	from         string // path of the namespace
	address      string
	stream, pong int
	peer         *peer // nil for a cable
}

// network compares the way of packets: what goes from one container to another, and through a published port, with what
// goes over a cable of its own (a veth pair between two namespaces); and the resolver with a program that sends the same
// answer to everything. All take turns in each round, so that
// whatever else the machine does meets all of them; the ratios are medians of the rounds' ratios.
func network(ctx context.Context, out io.Writer, peers []*peer, samples, work string, rounds int, dnsAlone bool) (err error) {
	b := &netBench{ctx: ctx, file: filepath.Join(samples, "net", "compose.yaml"), work: work}
	defer func() { err = errors.Join(err, b.end()) }()
	direct, err := b.cable()
	if err != nil {
		return err
	}
	outside, err := b.outside()
	if err != nil {
		return err
	}
	echo, err := b.echo()
	if err != nil {
		return err
	}
	rows := networkRows(b, direct, echo)
	for i, p := range peers {
		near, far, err := b.up(p, i)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		inside := way{p.name, near.path, far.address, streamPort, pongPort, p}
		published := way{p.name, outside, hostSide, 20000 + i, 21000 + i, p}
		local := published
		local.from, local.address = "/proc/self/ns/net", "127.0.0.1"
		for _, r := range rows {
			r.ways = append(r.ways, map[where]way{inNetwork: inside, fromOutside: published, fromHost: local}[r.where])
		}
	}
	if dnsAlone {
		rows = slices.DeleteFunc(rows, func(r *netRow) bool { return !strings.HasPrefix(r.what, "DNS") })
	}
	for n := range rounds {
		for _, r := range rows {
			if err := r.round(); err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d, %s: %v %s\n", n+1, rounds, r.what, r.values[n], r.unit)
		}
	}
	return printNetwork(out, rows, peers)
}

// where a measurement goes from and to.
type where int

const (
	inNetwork   where = iota // from one container to another of its network
	fromOutside              // from another machine to a published port
	fromHost                 // from the host to a published port at 127.0.0.1
)

// networkRows are the measurements. Packets between containers of a network pass the host's firewall, too, on a host that has
// br_netfilter, as dockerd loads it: they are measured without and with it.
func networkRows(b *netBench, direct, echo way) []*netRow {
	var rows []*netRow
	for _, m := range []struct {
		prefix, unit string
		measure      func(way) (float64, error)
	}{{"", "Gbit/s", b.stream}, {"round trip, ", "µs", b.roundTrip}} {
		between := m.prefix + "container to container"
		rows = append(rows,
			&netRow{what: between, unit: m.unit, ways: []way{direct}, measure: b.bridgeFirewall(false, m.measure)},
			&netRow{what: between + ", br_netfilter", unit: m.unit, ways: []way{direct}, measure: b.bridgeFirewall(true, m.measure)},
			&netRow{what: m.prefix + "published port, from outside", unit: m.unit, where: fromOutside, ways: []way{direct}, measure: m.measure},
			&netRow{what: m.prefix + "published port, from localhost", unit: m.unit, where: fromHost, ways: []way{direct}, measure: m.measure},
		)
	}
	return append(rows,
		&netRow{what: "DNS from inside a container", unit: "queries/s", ways: []way{echo}, measure: b.queries},
		&netRow{what: "DNS, processor time of the resolver per query", unit: "µs", ways: []way{echo}, measure: b.resolverTime})
}

// bridgeFirewall measures with the host's firewall between the ports of a bridge, or without; where the kernel has no
// br_netfilter there is never one. The setting is that of the namespace which the bench runs in.
func (b *netBench) bridgeFirewall(on bool, measure func(way) (float64, error)) func(way) (float64, error) {
	const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	return func(w way) (float64, error) {
		before, err := os.ReadFile(setting)
		if errors.Is(err, os.ErrNotExist) {
			return measure(w)
		}
		if err != nil {
			return 0, err
		}
		value := "0"
		if on {
			value = "1"
		}
		if err := os.WriteFile(setting, []byte(value), 0); err != nil {
			return 0, err
		}
		v, err := measure(w)
		return v, errors.Join(err, os.WriteFile(setting, before, 0))
	}
}

// netRow is one measurement of all ways.
type netRow struct {
	what, unit string
	where      where // of the peers' ways
	ways       []way
	measure    func(way) (float64, error)
	values     [][]float64 // by round and way
}

// round measures all ways once, beginning with another one each time.
func (r *netRow) round() error {
	values := make([]float64, len(r.ways))
	for i := range r.ways {
		at := (i + len(r.values)) % len(r.ways)
		v, err := r.measure(r.ways[at])
		if err != nil {
			return fmt.Errorf("%s: %w", r.ways[at].name, err)
		}
		values[at] = v
	}
	r.values = append(r.values, values)
	return nil
}

// median of the rounds of one way, or of its ratio to another one.
func (r *netRow) median(i, to int) float64 {
	var all []float64
	for _, v := range r.values {
		if to < 0 {
			all = append(all, v[i])
		} else {
			all = append(all, v[i]/v[to])
		}
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func printNetwork(out io.Writer, rows []*netRow, peers []*peer) error {
	head, line := []string{"", "direct veth, bare echo"}, []string{"---", "---:"}
	for _, p := range peers {
		head, line = append(head, p.name, "of that"), append(line, "---:", "---:")
	}
	if len(peers) > 1 {
		head, line = append(head, peers[0].name+" / "+peers[1].name), append(line, "---:")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "| %s |\n| %s |\n", strings.Join(head, " | "), strings.Join(line, " | "))
	for _, r := range rows {
		cells := []string{r.what, fmt.Sprintf("%.3g %s", r.median(0, -1), r.unit)}
		for i := range peers {
			cells = append(cells, fmt.Sprintf("%.3g %s", r.median(i+1, -1), r.unit), fmt.Sprintf("%.2f", r.median(i+1, 0)))
		}
		if len(peers) > 1 {
			cells = append(cells, fmt.Sprintf("%.2f", r.median(1, 2)))
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := b.WriteTo(out)
	return err
}

// netBench has what has to be ended afterwards.
type netBench struct {
	ctx        context.Context //nolint:containedctx // of all commands of one comparison
	file, work string
	ends       []func() error
}

func (b *netBench) end() error {
	var err error
	for _, end := range slices.Backward(b.ends) {
		err = errors.Join(err, end())
	}
	return err
}

// run runs a command in a namespace and returns what it prints.
func (b *netBench) run(ns string, command ...string) (string, error) {
	cmd := exec.CommandContext(b.ctx, "nsenter", append([]string{"--net=" + ns, "--"}, command...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", strings.Join(command, " "), err, complaint.String(), out.String())
	}
	return out.String(), nil
}

// hostSide is the host's address towards the outside.
const hostSide = "198.51.100.1"

func (b *netBench) namespace() (string, error) {
	ns, err := netns.NewBare()
	if err != nil {
		return "", err
	}
	b.ends = append(b.ends, func() error { ns.Close(); return nil })
	_, err = b.run(ns.Path(), "ip", "link", "set", "lo", "up")
	return ns.Path(), err
}

// join lays a cable between two namespaces.
func (b *netBench) join(one, oneAddr, other, otherAddr, name string) error {
	script := fmt.Sprintf("ip link add %[1]s type veth peer name %[1]s netns %[2]s && ip addr add %[3]s/24 dev %[1]s && ip link set %[1]s up", name, other, oneAddr)
	if _, err := b.run(one, "sh", "-ec", script); err != nil {
		return err
	}
	_, err := b.run(other, "sh", "-ec", fmt.Sprintf("ip addr add %s/24 dev %s && ip link set %[2]s up", otherAddr, name))
	return err
}

// cable is what everything is compared with.
func (b *netBench) cable() (way, error) {
	near, err := b.namespace()
	if err != nil {
		return way{}, err
	}
	far, err := b.namespace()
	if err != nil {
		return way{}, err
	}
	w := way{name: "direct veth", from: near, address: "198.51.101.2", stream: streamPort, pong: pongPort}
	return w, errors.Join(b.join(near, "198.51.101.1", far, w.address, "cable"), b.serve(far))
}

// outside is another machine.
func (b *netBench) outside() (string, error) {
	ns, err := b.namespace()
	if err != nil {
		return "", err
	}
	own := fmt.Sprintf("/proc/%d/ns/net", os.Getpid())
	return ns, b.join(own, hostSide, ns, "198.51.100.2", "tobench")
}

// place is a container's network.
type place struct{ path, address string }

// up brings a peer's containers up, with servers in one of them.
func (b *netBench) up(p *peer, i int) (near, far place, err error) {
	env := []string{fmt.Sprintf("STREAM=%d", 20000+i), fmt.Sprintf("PONG=%d", 21000+i)}
	compose := func(args ...string) error {
		q := *p
		q.env = append(slices.Clone(p.env), env...)
		return q.run(b.ctx, append(slices.Clone(p.compose), append([]string{"-f", b.file, "-p", "benchnet"}, args...)...)...)
	}
	b.ends = append(b.ends, func() error { return compose("down", "-t", "0") })
	if err := compose("up", "-d"); err != nil {
		return near, far, err
	}
	if near, err = b.place(p, "benchnet-near-1"); err != nil {
		return near, far, err
	}
	if far, err = b.place(p, "benchnet-far-1"); err != nil {
		return near, far, err
	}
	return near, far, b.serve(far.path)
}

// place finds a container's namespace and address, by docker's API.
func (b *netBench) place(p *peer, name string) (place, error) {
	found, err := p.inspect(b.ctx, name)
	if err != nil {
		return place{}, err
	}
	for _, n := range found.NetworkSettings.Networks {
		return place{fmt.Sprintf("/proc/%d/ns/net", found.State.Pid), n.IPAddress}, nil
	}
	return place{}, fmt.Errorf("%s is on no network", name)
}

// start starts a program in a namespace, to be killed in the end.
func (b *netBench) start(path string, command ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(b.ctx, "nsenter", append([]string{"--net=" + path, "--"}, command...)...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.ends = append(b.ends, func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return nil
	})
	return cmd, nil
}

// serve starts the servers in a namespace and returns when they listen.
func (b *netBench) serve(path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for port, server := range map[uint16][]string{
		streamPort: {"iperf3", "-s", "-p", strconv.Itoa(streamPort)},
		pongPort:   {self, "-pong", strconv.Itoa(pongPort)},
	} {
		if _, err := b.start(path, server...); err != nil {
			return err
		}
		if err := listening(path, func(s probe.Bound) bool { return s.Proto == "tcp" && s.Addr.Port() == port }); err != nil {
			return err
		}
	}
	return nil
}

// listening returns when there is such a socket in a namespace.
func listening(path string, wanted func(probe.Bound) bool) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		sockets, err := probe.Sockets(ns)
		if err != nil || slices.ContainsFunc(sockets, wanted) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a server does not listen: %v", sockets)
		}
	}
}
