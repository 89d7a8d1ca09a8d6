package scheduler

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tutti/dns"
	"tutti/netdriver"
	"tutti/scheduler/container"
)

// entry is a running container of project demo on networks with addresses, "front=10.0.0.2".
func entry(name, service string, on ...string) nameEntry {
	c := &container.Config{ID: strings.Repeat(name[:1], 64), Name: "demo-" + name, Project: "demo", Service: service}
	e := nameEntry{config: c}
	for _, o := range on {
		network, addr, _ := strings.Cut(o, "=")
		c.Networks = append(c.Networks, container.Attachment{Network: network, Aliases: []string{service}})
		e.endpoints = append(e.endpoints, container.Endpoint{Network: network, Endpoint: netdriver.Endpoint{IPv4: netip.MustParsePrefix(addr + "/24")}})
	}
	return e
}

// find returns the addresses that the records give a name on a network.
func find(records []dns.Record, network, name string) []string {
	var all []string
	for _, r := range records {
		if r.NetworkID == network && r.Name == name {
			for _, a := range r.Addrs {
				all = append(all, a.String())
			}
		}
	}
	return all
}

func TestNamesPerNetwork(t *testing.T) {
	t.Parallel()
	n := &names{entries: map[string]nameEntry{
		"a": entry("api-1", "api", "front=10.0.0.2", "back=10.0.1.2"),
		"b": entry("bpi-2", "api", "front=10.0.0.3"),
		"d": entry("db-1", "db", "back=10.0.1.3"),
	}}
	records, clients := n.table()
	for _, tt := range []struct{ network, name, want string }{
		{"front", "api", "10.0.0.2 10.0.0.3"},
		{"back", "api", "10.0.1.2"},
		{"front", "db", ""},
		{"back", "db", "10.0.1.3"},
		{"back", "demo-db-1", "10.0.1.3"},
		{"back", "dddddddddddd", "10.0.1.3"},
	} {
		if got := strings.Join(find(records, tt.network, tt.name), " "); got != tt.want {
			t.Errorf("%s on %s: got %q, want %q", tt.name, tt.network, got, tt.want)
		}
	}
	i := slices.IndexFunc(clients, func(c dns.Client) bool { return c.ID == "d" })
	if got := clients[i].Networks; !slices.Equal(got, []string{"back"}) {
		t.Errorf("db asks on %v", got)
	}
}

func TestLinksArePrivateNamesOnSharedNetworks(t *testing.T) {
	t.Parallel()
	web := entry("web-1", "web", "front=10.0.0.9")
	web.config.Links = []container.Link{{Service: "api", Alias: "backend"}, {Service: "db", Alias: "database"}}
	n := &names{entries: map[string]nameEntry{
		"w": web, "a": entry("api-1", "api", "front=10.0.0.2", "back=10.0.1.2"), "d": entry("db-1", "db", "back=10.0.1.3"),
	}}
	records, clients := n.table()
	i := slices.IndexFunc(clients, func(c dns.Client) bool { return c.ID == "w" })
	private := clients[i].Networks[0]
	if got := find(records, private, "backend"); !slices.Equal(got, []string{"10.0.0.2"}) {
		t.Errorf("backend: %v", got)
	}
	if got := find(records, private, "database"); got != nil {
		t.Errorf("database is on no shared network, yet has %v", got)
	}
	for _, c := range clients {
		if c.ID != "w" && slices.Contains(c.Networks, private) {
			t.Errorf("client %s sees web's links", c.ID)
		}
	}
}
