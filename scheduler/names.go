package scheduler

import (
	"net/netip"
	"sort"
	"strings"
	"sync"

	"tutti/dns"
	"tutti/scheduler/container"
)

// names keeps the resolver's table true: which containers run on which networks under which names. Changes that come at
// the same time share one new table.
type names struct {
	server *dns.Server

	mu      sync.Mutex
	entries map[string]nameEntry // by container id
	changes int

	build sync.Mutex
	built int // the changes that the current table contains
}

// nameEntry is one running container.
type nameEntry struct {
	config    *container.Config
	endpoints []container.Endpoint
	internal  bool // all its networks are
	upstreams []netip.AddrPort
	// localSingle: see dns.Client.
	localSingle bool
}

func newNames(s *dns.Server) *names { return &names{server: s, entries: map[string]nameEntry{}} }

// set makes a container known, and known to the resolver as a client. It returns when the resolver answers accordingly.
func (n *names) set(id string, e nameEntry) {
	n.apply(func() { n.entries[id] = e })
}

// drop forgets a container.
func (n *names) drop(id string) {
	n.apply(func() { delete(n.entries, id) })
}

func (n *names) apply(change func()) {
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
func (n *names) table() ([]dns.Record, []dns.Client) {
	ids := make([]string, 0, len(n.entries))
	for id := range n.entries {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return n.entries[ids[i]].config.Name < n.entries[ids[j]].config.Name })
	var records []dns.Record
	clients := make([]dns.Client, 0, len(ids))
	for _, id := range ids {
		e := n.entries[id]
		c := dns.Client{ID: id, Internal: e.internal, Upstreams: e.upstreams, LocalSingle: e.localSingle}
		if len(e.config.Links) > 0 {
			private := "links of " + id
			c.Networks = append(c.Networks, private)
			records = append(records, n.linkRecords(e, private)...)
		}
		for _, p := range e.endpoints {
			c.Networks = append(c.Networks, p.Network)
			for _, name := range namesOn(e.config, p.Network) {
				records = append(records, dns.Record{NetworkID: p.Network, NetworkName: p.Network, Name: name, Addrs: addresses(p)})
			}
		}
		clients = append(clients, c)
	}
	return records, clients
}

// linkRecords are the private names that a container's links give to other services.
func (n *names) linkRecords(e nameEntry, private string) []dns.Record {
	shared := map[string]bool{}
	for _, p := range e.endpoints {
		shared[p.Network] = true
	}
	var records []dns.Record
	for _, l := range e.config.Links {
		for _, other := range n.entries {
			if !l.To(other.config, e.config.Project) {
				continue
			}
			for _, p := range other.endpoints {
				if shared[p.Network] {
					records = append(records, dns.Record{NetworkID: private, Name: l.Alias, Addrs: addresses(p)})
				}
			}
		}
	}
	return records
}

// namesOn are the names of a container on a network: its own first, which answers reverse queries, then the service's,
// the aliases, the short id and the host name.
func namesOn(c *container.Config, network string) []string {
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
	return all
}

func addresses(p container.Endpoint) []netip.Addr {
	var all []netip.Addr
	for _, a := range []netip.Prefix{p.IPv4, p.IPv6} {
		if a.IsValid() {
			all = append(all, a.Addr())
		}
	}
	return all
}
