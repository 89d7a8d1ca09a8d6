package probe

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tutti/scheduler/supervise"
)

// hostile answers in all the ways a container may.
func hostile(release <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+r.Header.Get("X-Token"))
	})
	mux.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no disk", http.StatusServiceUnavailable) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.99/secret", http.StatusFound)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100<<10)) })
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) { <-release })
	return mux
}

func dialer(s *httptest.Server) Dial {
	return func(ctx context.Context, _ uint16) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
}

func TestHTTP(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1") // nobody may ask it
	release := make(chan struct{})
	plain, secure := httptest.NewServer(hostile(release)), httptest.NewTLSServer(hostile(release))
	defer plain.Close()
	defer secure.Close()
	defer close(release)
	for _, tt := range []struct {
		name   string
		probe  supervise.HTTPProbe
		tls    bool
		code   int
		output string
	}{
		{"healthy", supervise.HTTPProbe{URL: "http://localhost:8080/health"}, false, 0, "HTTP 200 OK\nGET localhost:8080 "},
		{"method, header and host", supervise.HTTPProbe{URL: "http://localhost/health", Method: "POST", Headers: map[string]string{"X-Token": "t", "host": "example.org"}}, false, 0, "POST example.org t"},
		{"sick", supervise.HTTPProbe{URL: "http://localhost/sick"}, false, 1, "HTTP 503 Service Unavailable\nno disk"},
		{"sick is what is wanted", supervise.HTTPProbe{URL: "http://localhost/sick", Status: [][2]int{{200, 200}, {500, 599}}}, false, 0, "503"},
		{"well is not", supervise.HTTPProbe{URL: "http://localhost/health", Status: [][2]int{{500, 599}}}, false, 1, "200"},
		{"a redirect is an answer and not followed", supervise.HTTPProbe{URL: "http://localhost/away"}, false, 0, "HTTP 302 Found"},
		{"a body without end", supervise.HTTPProbe{URL: "http://localhost/endless"}, false, 0, "HTTP 200 OK"},
		{"headers without end", supervise.HTTPProbe{URL: "http://localhost/headers"}, false, 1, "header"},
		{"no answer", supervise.HTTPProbe{URL: "http://localhost/silent"}, false, -1, "timeout"},
		{"an unknown certificate", supervise.HTTPProbe{URL: "https://localhost/health"}, true, 1, "certificate"},
		{"any certificate", supervise.HTTPProbe{URL: "https://localhost/health", Insecure: true}, true, 0, "200"},
	} {
		server := plain
		if tt.tls {
			server = secure
		}
		limit := time.Minute
		if tt.code == -1 {
			limit = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		r := HTTP(ctx, dialer(server), &tt.probe)
		cancel()
		if r.Code != tt.code || !strings.Contains(r.Output, tt.output) || len(r.Output) > maxBody+100 {
			t.Errorf("%s: got %d %q", tt.name, r.Code, r.Output[:min(len(r.Output), 200)])
		}
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _ uint16) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	if r := TCP(t.Context(), dial, 5432); r.Code != 0 {
		t.Errorf("somebody listens: %d %s", r.Code, r.Output)
	}
	l.Close()
	if r := TCP(t.Context(), dial, 5432); r.Code != 1 || !strings.Contains(r.Output, "refused") {
		t.Errorf("nobody listens: %d %s", r.Code, r.Output)
	}
}
