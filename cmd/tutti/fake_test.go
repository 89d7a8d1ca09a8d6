package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/layout"
)

// cli is a command line with a socket behind it on which the test answers for the engine: what is tested here is what the
// commands print and how they speak the protocol. What an engine does with it is tested by the samples.
type cli struct {
	t       *testing.T
	mux     *http.ServeMux
	root    string
	dir     string // holds the compose file
	environ []string
	signals chan os.Signal
	in      string
}

func newCLI(t *testing.T) *cli {
	t.Helper()
	paths := newPaths(t)
	c := &cli{t: t, mux: http.NewServeMux(), root: paths.Root, dir: t.TempDir(), signals: make(chan os.Signal, 4)}
	l, err := net.Listen("unix", paths.Socket())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c.mux}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
		os.RemoveAll(paths.Run)
	})
	c.mux.HandleFunc("/_ping", func(http.ResponseWriter, *http.Request) {})
	return c
}

// newPaths are those of a root whose run folder nobody has: its name is made from the root's, and short.
func newPaths(t *testing.T) layout.Paths {
	t.Helper()
	for {
		paths, err := layout.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		switch err := os.Mkdir(paths.Run, 0o700); {
		case err == nil:
			return paths
		case !errors.Is(err, os.ErrExist):
			t.Fatal(err)
		}
	}
}

// compose writes the project's file. Its name is demo.
func (c *cli) compose(text string) *cli {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "compose.yaml"), []byte("name: demo\n"+text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// answer lets the engine answer GET path with v as JSON.
func (c *cli) answer(path string, v any) *cli {
	c.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, v) })
	return c
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client will say what it missed
}

// verb lets the engine answer a project verb with events; got is told the request.
func (c *cli) verb(name string, got any, events ...api.Event) *cli {
	c.mux.HandleFunc("POST "+api.Prefix+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(got); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, e := range events {
			writeJSON(w, e)
		}
		if len(events) == 0 || events[len(events)-1].Kind != api.KindEnd {
			writeJSON(w, api.Event{Kind: api.KindEnd})
		}
	})
	return c
}

// output may be read while the command writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await returns when want has been written.
func (o *output) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(o.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q does not come; there is\n%s", want, o.String())
		}
	}
}

// result is what a command did.
type result struct {
	out, err output
	code     int
}

// run runs a command to its end.
func (c *cli) run(args ...string) *result {
	c.t.Helper()
	r, wait := c.start(args...)
	wait()
	return r
}

// start runs a command; wait returns at its end.
func (c *cli) start(args ...string) (r *result, wait func()) {
	r = &result{}
	a := &app{
		in: strings.NewReader(c.in), out: &r.out, err: &r.err, signals: c.signals, version: "v1.2.3",
		environ: append([]string{"HOME=/nonexistent"}, c.environ...),
	}
	global := []string{"--root", c.root}
	if _, err := os.Stat(filepath.Join(c.dir, "compose.yaml")); err == nil {
		global = append(global, "-f", filepath.Join(c.dir, "compose.yaml"))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.code = a.main(context.Background(), append(global, args...))
	}()
	return r, func() {
		c.t.Helper()
		select {
		case <-done:
		case <-time.After(2 * time.Minute):
			c.t.Fatalf("%v does not end; stdout\n%s\nstderr\n%s", args, r.out.String(), r.err.String())
		}
	}
}

// expect compares all that a command did.
func (r *result) expect(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || r.out.String() != out || r.err.String() != err {
		t.Errorf("exit code %d, want %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s\nwant:\n%s", r.code, code, r.out.String(), out, r.err.String(), err)
	}
}
