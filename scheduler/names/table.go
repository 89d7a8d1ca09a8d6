// Package names keeps the resolver's table true to what runs.
package names

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"tutti/dns"
	"tutti/scheduler/container"
)

// Table keeps the resolver's table true: which containers run on which networks under which names. Changes that come at
// the same time share one new table.
type Table struct {
	server *dns.Server

	mu       sync.Mutex
	entries  map[string]Entry // by container id
	expected map[string]int   // by container name, how many plans start it anew
	leaving  map[string]Entry // by container name, of those that are expected and do not run
	changes  int

	build sync.Mutex
	built int // the changes that the current table contains
}

// Entry is one running container.
type Entry struct {
	Config    *container.Config
	Endpoints []container.Endpoint
	Ports     []dns.Port
	Internal  bool // all its networks are
	Upstreams []netip.AddrPort
	// LocalSingle: see [dns.Client].
	LocalSingle bool
}

// New returns the names of nothing, for a resolver.
func New(s *dns.Server) *Table {
	return &Table{server: s, entries: map[string]Entry{}, expected: map[string]int{}, leaving: map[string]Entry{}}
}

// Set makes a container known, and known to the resolver as a client. It returns when the resolver answers accordingly.
func (n *Table) Set(id string, e Entry) { n.SetAll(map[string]Entry{id: e}) }

// SetAll is set for many at once, by their ids.
func (n *Table) SetAll(all map[string]Entry) {
	n.apply(func() {
		for id, e := range all {
			n.entries[id] = e
			delete(n.leaving, e.Config.Name)
		}
	})
}

// Drop forgets a container. One that is expected to be started anew, or another of its name, leaves those of its names
// behind that nobody else has: a client that asks in between is led where its container was, which is nearly always where
// it will be, and tries again. That the name does not exist many would take for final.
func (n *Table) Drop(id string) {
	n.apply(func() {
		if e, ok := n.entries[id]; ok && n.expected[e.Config.Name] > 0 {
			n.leaving[e.Config.Name] = e
		}
		delete(n.entries, id)
	})
}

// Expect announces that containers will be started anew, until the returned function is called.
func (n *Table) Expect(containers []string) (done func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range containers {
		n.expected[c]++
	}
	return sync.OnceFunc(func() {
		n.apply(func() {
			for _, c := range containers {
				if n.expected[c]--; n.expected[c] == 0 {
					delete(n.expected, c)
					delete(n.leaving, c)
				}
			}
		})
	})
}

func (n *Table) apply(change func()) {
	n.mu.Lock()
	change()
	n.changes++
	mine := n.changes
	n.mu.Unlock()

	n.build.Lock()
	defer n.build.Unlock()
	if n.built >= mine {
		return
	}
	n.mu.Lock()
	n.built = n.changes
	records, clients := n.table()
	n.mu.Unlock()
	n.server.Set(dns.NewTable(records, clients))
}

// table lists all names and clients, in a stable order: replicas take turns from the lowest number on.
func (n *Table) table() ([]dns.Record, []dns.Client) {
	var records []dns.Record
	clients := make([]dns.Client, 0, len(n.entries))
	for _, e := range sorted(n.entries) {
		c := dns.Client{ID: e.Config.ID, Internal: e.Internal, Upstreams: e.Upstreams, LocalSingle: e.LocalSingle}
		if len(e.Config.Links) > 0 {
			private := "links of " + e.Config.ID
			c.Networks = append(c.Networks, private)
			records = append(records, n.linkRecords(e, private)...)
		}
		for _, p := range e.Endpoints {
			c.Networks = append(c.Networks, p.Network)
		}
		records = append(records, e.records()...)
		clients = append(clients, c)
	}
	return append(records, n.leavingRecords(records)...), clients
}

// sorted are entries by their containers' names.
func sorted(entries map[string]Entry) []Entry {
	all := slices.Collect(maps.Values(entries))
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Config.Name, b.Config.Name) })
	return all
}

// records are the names of a container on its networks.
func (e Entry) records() []dns.Record {
	var records []dns.Record
	for _, p := range e.Endpoints {
		for _, name := range On(e.Config, p.Network) {
			records = append(records, dns.Record{
				NetworkID: p.Network, NetworkName: p.Network, Name: name, Addrs: p.Addresses(), Ports: e.Ports, Host: e.Config.Name,
			})
		}
	}
	return records
}

// leavingRecords are the names of containers that are about to be started anew, as far as no record of a running one has
// them.
func (n *Table) leavingRecords(have []dns.Record) []dns.Record {
	if len(n.leaving) == 0 {
		return nil
	}
	taken := map[[2]string]bool{}
	for _, r := range have {
		taken[[2]string{r.NetworkID, strings.ToLower(r.Name)}] = true
	}
	var records []dns.Record
	for _, e := range sorted(n.leaving) {
		for _, r := range e.records() {
			if !taken[[2]string{r.NetworkID, strings.ToLower(r.Name)}] {
				records = append(records, r)
			}
		}
	}
	return records
}

// linkRecords are the private names that a container's links give to other services.
func (n *Table) linkRecords(e Entry, private string) []dns.Record {
	shared := map[string]bool{}
	for _, p := range e.Endpoints {
		shared[p.Network] = true
	}
	var records []dns.Record
	for _, l := range e.Config.Links {
		before := len(records)
		for _, all := range []map[string]Entry{n.entries, n.leaving} {
			if len(records) > before {
				break
			}
			for _, other := range sorted(all) {
				if !l.To(other.Config, e.Config.Project) {
					continue
				}
				for _, p := range other.Endpoints {
					if shared[p.Network] && (l.Network == "" || l.Network == p.Network) {
						records = append(records, dns.Record{NetworkID: private, Name: l.Alias, Addrs: p.Addresses(), Ports: other.Ports, Host: other.Config.Name})
					}
				}
			}
		}
	}
	return records
}

// On are the names by which others find a container on a network: its own first, which answers reverse queries, then the
// service's, the aliases, the short id and the host name.
func On(c *container.Config, network string) []string {
	all := []string{c.Name}
	add := func(name string) {
		for _, have := range all {
			if strings.EqualFold(have, name) {
				return
			}
		}
		if name != "" {
			all = append(all, name)
		}
	}
	for _, a := range c.Networks {
		if a.Network == network {
			for _, alias := range a.Aliases {
				add(alias)
			}
		}
	}
	add(c.ID[:12])
	add(c.Hostname)
	return all
}

// ServedPorts are the ports that a container exposes or publishes, for SRV records: each once, under a name if it has one.
func ServedPorts(c *container.Config) []dns.Port {
	var all []dns.Port
	for _, p := range slices.Concat(c.Ports, c.Exposed) {
		i := slices.IndexFunc(all, func(have dns.Port) bool { return have.Port == p.Target && have.Proto == p.Protocol })
		switch {
		case i < 0:
			all = append(all, dns.Port{Port: p.Target, Proto: p.Protocol, Name: p.Name})
		case all[i].Name == "":
			all[i].Name = p.Name
		}
	}
	return all
}
