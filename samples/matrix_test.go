package samples

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tutti/scheduler/api"
)

// serveOnHost answers HTTP requests to a port of the machine itself.
func (m *machine) serveOnHost(port string) {
	m.t.Helper()
	var listener net.Listener
	err := m.in(m.pid, func() (err error) {
		listener, err = net.Listen("tcp4", ":"+port)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "host")
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	m.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

// isolationMatrix prints who reaches whom, by real requests, and compares that with the table in the sample's README, and
// with what network check finds; with -update it writes the table there.
func isolationMatrix(s *site, file string) {
	const hostPort = "99"
	s.host.serveOnHost(hostPort)
	services := []string{"web", "api", "db"}
	addresses, gateways := map[string][]string{}, map[string][]string{}
	for _, name := range services {
		for line := range strings.Lines(s.must("-f", file, "exec", "-T", name, "ip", "-4", "-o", "addr", "show", "scope", "global")) {
			address, _, _ := strings.Cut(strings.Fields(line)[3], "/")
			addresses[name] = append(addresses[name], address)
			gateways[name] = append(gateways[name], address[:strings.LastIndexByte(address, '.')]+".1")
			s.host.sh(s.host.neighbour, "ip route replace "+address+" via "+hostAddress) // a neighbour that knows the way
		}
	}
	type asker func(limit time.Duration, address string) string
	askers := map[string]asker{
		"the host": func(d time.Duration, a string) string { got, _ := s.host.getWithin(d, s.host.pid, a); return got },
		"outside":  func(d time.Duration, a string) string { got, _ := s.host.getWithin(d, s.host.neighbour, a); return got },
	}
	for _, name := range services {
		askers[name] = func(d time.Duration, a string) string { return ask(s, d, file, name, a) }
	}
	expected := readTable(s.t, matrixPage)
	any := func(asker, column, want string, targets ...string) string {
		for _, limit := range []time.Duration{soon, patience} {
			for _, target := range targets {
				if askers[asker](limit, target) == want {
					return "yes"
				}
			}
			if expected[asker][column] != "yes" {
				break
			}
		}
		return "no"
	}
	var table strings.Builder
	agree := s.reachTable(file)
	table.WriteString("| asks \\ server | web | api | db  | the host | outside | port 8080 of the host |\n|---------------|-----|-----|-----|----------|---------|-----------------------|\n")
	for _, from := range append(services, "the host", "outside") {
		fmt.Fprintf(&table, "| %-13s |", from)
		for _, to := range services {
			targets := addresses[to]
			if addresses[from] != nil {
				targets = append([]string{to}, targets...) // by name, too
			}
			fmt.Fprintf(&table, " %-3s |", agree(from, to, any(from, to, to, targets...)))
		}
		host, outside := []string{hostAddress + ":" + hostPort}, "-"
		for _, g := range gateways[from] {
			host = append(host, g+":"+hostPort)
		}
		if from != "outside" {
			outside = any(from, "outside", hostAddress, neighbourAddress)
		}
		fmt.Fprintf(&table, " %-8s | %-7s | %-21s |\n", agree(from, api.ReachHost, any(from, "the host", "host", host...)), agree(from, api.ReachOutside, outside),
			any(from, "port 8080 of the host", "web", hostAddress+":8080"))
	}
	compareTable(s.t, matrixPage, table.String())
}

const matrixPage = "isolated-networks/README.md"

// readTable reads the table of a page that begins with "asks": the cells by the names of their rows and columns.
func readTable(t testing.TB, path string) map[string]map[string]string {
	t.Helper()
	cells := map[string]map[string]string{}
	var names []string
	for line := range strings.Lines(readFile(t, path)) {
		columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range columns {
			columns[i] = strings.TrimSpace(columns[i])
		}
		if strings.HasPrefix(columns[0], "asks") {
			names = columns
		} else if len(columns) == len(names) {
			cells[columns[0]] = map[string]string{}
			for i, c := range columns {
				cells[columns[0]][names[i]] = c
			}
		}
	}
	return cells
}

// reachTable returns what compares an answer with what network check finds between the same two, as far as it asks for them,
// and returns the answer.
func (s *site) reachTable(file string) func(from, to, answer string) string {
	s.t.Helper()
	var report api.Reach
	if err := json.Unmarshal([]byte(s.must("-f", file, "network", "check", "--format", "json", "--timeout", "10s")), &report); err != nil {
		s.t.Fatal(err)
	}
	if len(report.Checks) != 3*5 {
		s.t.Errorf("network check has made %d checks", len(report.Checks))
	}
	return func(from, to, answer string) string {
		for _, c := range report.Checks {
			if c.From == from && c.To == to && string(c.Result) != answer {
				s.t.Errorf("%s → %s: over HTTP %s, but network check says %s: %s", from, to, answer, c.Result, c.Summary)
			}
		}
		return answer
	}
}

// compareTable compares the table of a page that begins with "asks", or with -update puts this one in its place.
func compareTable(t testing.TB, path, table string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	start := strings.Index(page, "| asks")
	if start < 0 {
		t.Fatalf("%s has no table of who asks whom", path)
	}
	end := start + strings.Index(page[start:], "\n\n") + 1
	switch {
	case *update:
		if err := os.WriteFile(path, []byte(page[:start]+table+page[end:]), 0o644); err != nil {
			t.Fatal(err)
		}
	case page[start:end] != table:
		t.Errorf("%s says\n%s\nbut it is so\n%s\n(go test ./samples -run IsolatedNetworks -update writes it anew)", path, page[start:end], table)
	}
}
