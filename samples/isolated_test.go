package samples

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func sample(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(name, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Containers must see each other over a network that they share, and over nothing else; what is published must be
// reachable from everywhere; and the host must end as it began.
func TestIsolatedNetworks(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.serve(80)
	s.waitUntilIdle()
	before := s.host.snapshot()

	file := sample(t, "isolated-networks")
	s.must("-f", file, "up", "-d", "--wait")
	s.must("-f", file, "plan") // fails where something would change
	t.Run("names", func(t *testing.T) { isolatedNames(s.in(t), file) })
	t.Run("addresses", func(t *testing.T) { isolatedAddresses(s.in(t), file) })
	t.Run("published", func(t *testing.T) { isolatedPublished(s.in(t)) })
	t.Run("matrix", func(t *testing.T) { isolationMatrix(s.in(t), file) })
	t.Run("outside", func(t *testing.T) { isolatedOutside(s.in(t), file) })
	s.must("-f", file, "down")

	s.mustBeAs(before)
}

// soon is how long an answer is waited for that is not to come, or that is asked for again when it should have come.
const soon = 2 * time.Second

// patience is how long one is waited for that must come, however slow everything is.
const patience = 30 * time.Second

// patienceFor is how long to wait for an answer; "" is none.
func patienceFor(want string) time.Duration {
	if want == "" {
		return soon
	}
	return patience
}

// ask fetches a page from inside a service's container and returns it, or "" when there is no answer in time.
func ask(s *site, limit time.Duration, file, service, address string) string {
	s.t.Helper()
	r := s.run("-f", file, "exec", "-T", service, "timeout", strconv.Itoa(int(limit.Seconds())), "wget", "-q", "-O", "-", "http://"+address)
	if (r.code == 0) != (r.stdout != "") {
		s.t.Errorf("exit code %d: %s", r.code, r)
	}
	return strings.TrimSpace(r.stdout)
}

var reachable = map[string][]string{
	"web": {"web", "api", "api.example", "isolated-networks-api-1"},
	"api": {"web", "api", "api.example", "db", "isolated-networks-db-1"},
	"db":  {"api", "db", "isolated-networks-api-1"},
}

func isolatedNames(s *site, file string) {
	for from, names := range reachable {
		for _, name := range names {
			want := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(name, ".example"), "isolated-networks-"), "-1")
			if got := ask(s, patience, file, from, name); got != want {
				s.t.Errorf("%s asks %s: answer %q, want %q", from, name, got, want)
			}
		}
	}
	for from, names := range map[string][]string{
		"web": {"db", "isolated-networks-db-1"},
		"db":  {"web", "isolated-networks-web-1", "api.example"},
	} {
		for _, name := range names {
			if r := s.run("-f", file, "exec", "-T", from, "nslookup", name); r.code == 0 {
				s.t.Errorf("%s resolves %s:\n%s", from, name, r)
			}
		}
	}
}

// isolatedAddresses tries every address of every container from every other one: who knows an address must get no
// further than who knows a name.
func isolatedAddresses(s *site, file string) {
	addresses := map[string][]string{}
	for service := range reachable {
		out := s.must("-f", file, "exec", "-T", service, "ip", "-4", "-o", "addr", "show", "scope", "global")
		for line := range strings.Lines(out) {
			address, _, _ := strings.Cut(strings.Fields(line)[3], "/")
			addresses[service] = append(addresses[service], address)
		}
	}
	networks := map[string]int{"web": 1, "api": 2, "db": 1}
	for service, want := range networks {
		if len(addresses[service]) != want {
			s.t.Fatalf("%s has the addresses %v, want %d", service, addresses[service], want)
		}
	}
	answers := func(limit time.Duration, from, to string) (n int) {
		for _, address := range addresses[to] {
			if ask(s, limit, file, from, address) == to {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		from, to string
		want     int
	}{{"web", "api", 1}, {"web", "db", 0}, {"api", "web", 1}, {"api", "db", 1}, {"db", "api", 1}, {"db", "web", 0}} {
		got := answers(soon, c.from, c.to)
		if got < c.want {
			got = answers(patience, c.from, c.to)
		}
		if got != c.want {
			s.t.Errorf("%s reaches %d of the addresses of %s (%v), want %d", c.from, got, c.to, addresses[c.to], c.want)
		}
	}
	// db is not reachable from the host's other interfaces either: another machine that routes to it gets no answer.
	s.host.sh(s.host.neighbour, "ip route add "+addresses["db"][0]+" via "+hostAddress)
	if got, err := s.host.getWithin(soon, s.host.neighbour, addresses["db"][0]+":80"); err == nil {
		s.t.Errorf("another machine reaches the internal network: %q", got)
	}
}

func isolatedPublished(s *site) {
	for _, c := range []struct {
		from    string
		pid     int
		address string
	}{
		{"localhost", s.host.pid, "127.0.0.1:8080"},
		{"localhost", s.host.pid, "[::1]:8080"},
		{"the host's own address", s.host.pid, hostAddress + ":8080"},
		{"another machine", s.host.neighbour, hostAddress + ":8080"},
	} {
		if got, err := s.host.get(c.pid, c.address); got != "web" {
			s.t.Errorf("%s: answer %q, %v; want web", c.from, got, err)
		}
	}
}

// isolatedOutside asks a server on another machine, which answers with the address that it sees.
func isolatedOutside(s *site, file string) {
	for service, want := range map[string]string{"web": hostAddress, "api": hostAddress, "db": ""} {
		if got := ask(s, patienceFor(want), file, service, neighbourAddress); got != want {
			s.t.Errorf("%s asks another machine: answer %q, want %q", service, got, want)
		}
	}
	// Back through the front door: a container reaches what the host publishes.
	if got := ask(s, patience, file, "api", hostAddress+":8080"); got != "web" {
		s.t.Errorf("api asks the published port: answer %q, want web", got)
	}
}
