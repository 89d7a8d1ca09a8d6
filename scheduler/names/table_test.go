package names

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
func entry(name, service string, on ...string) Entry {
	c := &container.Config{ID: strings.Repeat(name[:1], 64), Name: "demo-" + name, Project: "demo", Service: service}
	e := Entry{Config: c}
	for _, o := range on {
		network, addr, _ := strings.Cut(o, "=")
		c.Networks = append(c.Networks, container.Attachment{Network: network, Aliases: []string{service}})
		e.Endpoints = append(e.Endpoints, container.Endpoint{Network: network, Endpoint: netdriver.Endpoint{IPv4: netip.MustParsePrefix(addr + "/24")}})
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
	n := &Table{entries: map[string]Entry{
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
	i := slices.IndexFunc(clients, func(c dns.Client) bool { return c.ID == strings.Repeat("d", 64) })
	if got := clients[i].Networks; !slices.Equal(got, []string{"back"}) {
		t.Errorf("db asks on %v", got)
	}
}

func TestLinksArePrivateNamesOnSharedNetworks(t *testing.T) {
	t.Parallel()
	web := entry("web-1", "web", "front=10.0.0.9")
	web.Config.Links = []container.Link{{Service: "api", Alias: "backend"}, {Service: "db", Alias: "database"}}
	n := &Table{entries: map[string]Entry{
		"w": web, "a": entry("api-1", "api", "front=10.0.0.2", "back=10.0.1.2"), "d": entry("db-1", "db", "back=10.0.1.3"),
	}}
	records, clients := n.table()
	i := slices.IndexFunc(clients, func(c dns.Client) bool { return c.ID == web.Config.ID })
	private := clients[i].Networks[0]
	if got := find(records, private, "backend"); !slices.Equal(got, []string{"10.0.0.2"}) {
		t.Errorf("backend: %v", got)
	}
	if got := find(records, private, "database"); got != nil {
		t.Errorf("database is on no shared network, yet has %v", got)
	}
	for _, c := range clients {
		if c.ID != web.Config.ID && slices.Contains(c.Networks, private) {
			t.Errorf("client %s sees web's links", c.ID)
		}
	}
}

// The names of a container that is being replaced stay where nobody else has them; those of one that is stopped do not.
func TestNamesOfContainersThatAreStartedAnew(t *testing.T) {
	t.Parallel()
	n := New(dns.New(t.Context(), dns.Config{}))
	one, two, successor := entry("a-1", "web", "front=10.0.0.2"), entry("b-2", "web", "front=10.0.0.3"), entry("c-1", "web", "front=10.0.0.9")
	successor.Config.Name = one.Config.Name
	client := entry("x-1", "other", "front=10.0.0.8")
	client.Config.Links = []container.Link{{Service: "web", Alias: "backend"}}
	var done func()
	for _, s := range []struct {
		what                   string
		do                     func()
		web, own, short, alias string
	}{
		{"both run", func() { n.Set("1", one); n.Set("2", two); n.Set("x", client) }, "10.0.0.2 10.0.0.3", "10.0.0.2", "10.0.0.2", "10.0.0.2 10.0.0.3"},
		{"one is stopped", func() { n.Drop("1") }, "10.0.0.3", "", "", "10.0.0.3"},
		{"it runs again", func() { n.Set("1", one) }, "10.0.0.2 10.0.0.3", "10.0.0.2", "10.0.0.2", "10.0.0.2 10.0.0.3"},
		{"a plan replaces it", func() { done = n.Expect([]string{one.Config.Name}); n.Drop("1") }, "10.0.0.3", "10.0.0.2", "10.0.0.2", "10.0.0.3"},
		{"the other one is stopped", func() { n.Drop("2") }, "10.0.0.2", "10.0.0.2", "10.0.0.2", "10.0.0.2"},
		{"the successor runs", func() { n.Set("3", successor) }, "10.0.0.9", "10.0.0.9", "", "10.0.0.9"},
		{"it ends within the plan", func() { n.Drop("3") }, "10.0.0.9", "10.0.0.9", "", "10.0.0.9"},
		{"the plan is done", func() { done(); done() }, "", "", "", ""},
	} {
		s.do()
		records, clients := n.table()
		i := slices.IndexFunc(clients, func(c dns.Client) bool { return c.ID == client.Config.ID })
		private := clients[i].Networks[0]
		for name, want := range map[[2]string]string{
			{"front", "web"}: s.web, {"front", one.Config.Name}: s.own, {"front", one.Config.ID[:12]}: s.short, {private, "backend"}: s.alias,
		} {
			if got := strings.Join(find(records, name[0], name[1]), " "); got != want {
				t.Errorf("%s: %v is %q, want %q", s.what, name, got, want)
			}
		}
	}
	if len(n.expected)+len(n.leaving) != 0 {
		t.Errorf("left: %v %v", n.expected, n.leaving)
	}
}

func TestServedPorts(t *testing.T) {
	t.Parallel()
	got := ServedPorts(&container.Config{
		Ports:   []container.Port{{Target: 80, Protocol: "tcp", Published: "8080"}, {Target: 80, Protocol: "tcp", Name: "http"}, {Target: 53, Protocol: "udp", Name: "domain"}},
		Exposed: []container.Port{{Target: 80, Protocol: "tcp"}, {Target: 53, Protocol: "tcp"}},
	})
	want := []dns.Port{{Port: 80, Proto: "tcp", Name: "http"}, {Port: 53, Proto: "udp", Name: "domain"}, {Port: 53, Proto: "tcp"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
