package samples

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The whole stack on this machine's own network, as `make demo` brings it up: built, used from a browser, torn down.
func TestMean(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.timeout = buildTimeout
	port := freePort(t)
	s.environ = []string{"PORT=" + port}
	copySample(t, "mean", s.dir)
	s.load("base-images")

	start := time.Now()
	s.must("build")
	t.Logf("built in %v", time.Since(start).Round(100*time.Millisecond))
	start = time.Now()
	s.must("up", "-d", "--wait")
	t.Logf("healthy in %v", time.Since(start).Round(10*time.Millisecond))
	s.must("plan") // fails where something would change

	url := "http://localhost:" + port
	b := newBrowser(t, url)
	step := func(name string, f func(t *testing.T)) {
		if !t.Run(name, f) {
			t.FailNow() // each step begins where the last one ended
		}
	}
	step("browser", func(t *testing.T) {
		b.open()
		b.add("buy milk")
		b.shows("buy milk") // the page shows them in the order of the answers
		b.add("water the plants")
		b.shows("buy milk", "water the plants")
		b.toggle("buy milk")
		b.shows("x buy milk", "water the plants")
		b.remove("water the plants")
		b.shows("x buy milk")
		b.open("x buy milk")
	})
	step("only express sees the database", func(t *testing.T) { meanIsolation(s.in(t)) })
	step("engine killed under load", func(t *testing.T) { meanEngineKilled(s.in(t), url) })
	step("API down", func(t *testing.T) {
		s.must("stop", "express")
		b.add("lost")
		b.problem("Is the express service running?")
		s.must("start", "--wait", "express")
		b.open("x buy milk")
	})
	step("only what changed is rebuilt", func(t *testing.T) { meanRebuild(s.in(t)) })
	step("data outlives the containers", func(t *testing.T) {
		s.must("down")
		s.must("up", "-d", "--wait")
		b.open("x buy milk")
	})
	step("data ends with its volume", func(t *testing.T) {
		s.must("down", "--volumes")
		s.must("up", "-d", "--wait")
		b.open()
	})
	s.must("down", "--volumes")
}

// meanIsolation: angular is on front-end only and must neither resolve nor reach mongo; express must reach both.
func meanIsolation(s *site) {
	lookup := `require('dns').lookup('mongo', (err, address) => { if (err) throw err; console.log(address) })`
	address := strings.TrimSpace(s.must("exec", "-T", "express", "node", "-e", lookup))
	if net.ParseIP(address) == nil {
		s.t.Fatalf("express resolves mongo to %q", address)
	}
	connect := func(limit, service, host, port string) result {
		return s.run("exec", "-T", service, "timeout", limit, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%s", host, port))
	}
	for _, host := range []string{"mongo", address} {
		if r := connect("30", "express", host, "27017"); r.code != 0 {
			s.t.Errorf("express does not reach %s: %s", host, r)
		}
		if r := connect("2", "angular", host, "27017"); r.code == 0 {
			s.t.Errorf("angular reaches %s", host)
		}
	}
	if r := connect("30", "angular", "express", "3000"); r.code != 0 {
		s.t.Errorf("angular does not reach express: %s", r)
	}
	if r := s.run("exec", "-T", "angular", "getent", "hosts", "mongo"); r.code == 0 {
		s.t.Errorf("angular resolves mongo: %s", r)
	}
}

// meanEngineKilled kills the engine again and again while requests flow. Each request passes the published port, the
// lookup of express by nginx, and the one connection of express to mongo. None may fail, and each leaves one line in
// the log of nginx.
func meanEngineKilled(s *site, url string) {
	var sent, failed atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for _, keepAlive := range []bool{true, false} {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: !keepAlive}}
		clients.Go(func() {
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := sent.Add(1)
				if err := get(client, fmt.Sprintf("%s/api/todos?request=%d.", url, n)); err != nil {
					failed.Add(1)
					s.t.Errorf("request %d: %v", n, err)
				}
			}
		})
	}
	end := sync.OnceFunc(func() {
		close(stop)
		clients.Wait()
	})
	defer end()             // also when the test is given up
	more := func(n int64) { // requests must have been made meanwhile
		from := sent.Load()
		eventually(s.t, commandTimeout, func() error {
			if sent.Load() < from+n {
				return fmt.Errorf("%d requests since %d", sent.Load()-from, from)
			}
			return nil
		})
	}
	for range 3 {
		more(100)
		if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
			s.t.Fatal(err)
		}
		if got := strings.Count(s.must("ps", "--format", "{{.Service}} {{.State}}\n"), " running"); got != 3 {
			s.t.Errorf("ps right after the kill shows %d running containers, want 3", got)
		}
		if out := s.must("exec", "-T", "express", "node", "-p", "6*7"); out != "42\n" {
			s.t.Errorf("exec right after the kill prints %q", out)
		}
		if out := s.must("logs", "--tail", "1", "angular"); !strings.Contains(out, "request=") {
			s.t.Errorf("logs right after the kill prints %q", out)
		}
		more(100)
	}
	end()
	s.t.Logf("%d requests, %d failed", sent.Load(), failed.Load())

	eventually(s.t, commandTimeout, func() error { // nginx writes a line after the answer
		log := s.must("logs", "--no-log-prefix", "--no-color", "angular")
		for n := int64(1); n <= sent.Load(); n++ {
			if got := strings.Count(log, fmt.Sprintf("request=%d.", n)); got != 1 {
				return fmt.Errorf("%d log lines of request %d of %d, want 1", got, n, sent.Load())
			}
		}
		return nil
	})
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "buy milk") {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}

// meanRebuild changes a file of express: its container must be replaced, and no other.
func meanRebuild(s *site) {
	containers := func() map[string]string {
		ids := map[string]string{}
		for line := range strings.Lines(s.must("ps", "--format", "{{.Service}} {{.ID}}\n")) {
			if service, id, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				ids[service] = id
			}
		}
		return ids
	}
	before := containers()
	file := filepath.Join(s.dir, "express", "server.js")
	code, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	changed := strings.Replace(string(code), "todo API on port", "changed API on port", 1)
	s.write("express/server.js", changed)
	start := time.Now()
	s.must("up", "-d", "--build", "--wait")
	s.t.Logf("built and replaced in %v", time.Since(start).Round(10*time.Millisecond))
	after := containers()
	for service, id := range before {
		if replaced := after[service] != id; replaced != (service == "express") {
			s.t.Errorf("%s: container %s before, %s after", service, id, after[service])
		}
	}
	if log := s.must("logs", "express"); !strings.Contains(log, "changed API on port") {
		s.t.Errorf("express does not run the changed file:\n%s", log)
	}
}

// freePort is a port that nobody has, and that the kernel gives to nobody until it is used: it is below those that it
// chooses from (ip(7), ip_local_port_range).
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(10000))
		l, err := net.Listen("tcp", ":"+port)
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return ""
}

// copySample copies a sample, so that a test may change it.
func copySample(t testing.TB, name, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
}
