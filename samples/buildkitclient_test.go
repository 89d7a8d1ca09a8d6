package samples

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	bkclient "github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil"
	"google.golang.org/protobuf/proto"
)

// hijack opens a connection that begins as a request of docker's API, as its clients do.
func (s *site) hijack(ctx context.Context, path string, header map[string][]string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", "/run/tutti-"+s.instance()+"/tutti.sock")
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker"+path, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"h2c"}}
	for key, values := range header {
		request.Header[http.CanonicalHeaderKey(key)] = values
	}
	if err := request.Write(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, request)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(answer.Body)
		return nil, errors.Join(fmt.Errorf("%s: %s", answer.Status, text), conn.Close())
	}
	return &hijackedConn{conn, in}, nil
}

// hijackedConn is a connection of which something may have been read.
type hijackedConn struct {
	net.Conn
	in *bufio.Reader
}

func (h *hijackedConn) Read(p []byte) (int, error) { return h.in.Read(p) }

// buildkit is BuildKit's own client on the engine's socket, put together as buildx does for its driver "docker".
func (s *site) buildkit() *bkclient.Client {
	s.t.Helper()
	s.must("ls") // starts the engine if it is gone
	c, err := bkclient.New(s.t.Context(), "", bkclient.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return s.hijack(ctx, "/grpc", nil)
	}), bkclient.WithSessionDialer(func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
		return s.hijack(ctx, "/session", meta)
	}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// kitBuild is a build as buildx asks for one: the frontend is asked by the client, which hands back its result.
type kitBuild struct {
	files   map[string]string // of the context
	attrs   map[string]string
	exports []bkclient.ExportEntry
	session []session.Attachable
	allow   []string
	to      []bkclient.CacheOptionsEntry
	from    []bkclient.CacheOptionsEntry
	hidden  bool // not to be in the history
}

// said is what a build has shown.
type said struct {
	steps []string // with what became of each
	text  string   // that steps have printed
}

func (k kitBuild) run(ctx context.Context, t *testing.T, c *bkclient.Client) (map[string]string, said, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range k.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	local, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	attrs := map[string]string{"image-resolve-mode": "local"}
	for key, value := range k.attrs {
		attrs[key] = value
	}
	exports := k.exports
	if exports == nil {
		exports = []bkclient.ExportEntry{{Type: "moby", Attrs: map[string]string{}}}
	}
	solve := bkclient.SolveOpt{
		FrontendAttrs: attrs, LocalMounts: map[string]fsutil.FS{"context": local, "dockerfile": local}, SharedKey: "the same for all",
		Exports: exports, Session: k.session, AllowedEntitlements: k.allow, CacheExports: k.to, CacheImports: k.from, Internal: k.hidden,
	}
	status := make(chan *bkclient.SolveStatus)
	var seen said
	var follow sync.WaitGroup
	follow.Go(func() {
		for st := range status {
			for _, v := range st.Vertexes {
				if v.Completed != nil {
					seen.steps = append(seen.steps, fmt.Sprintf("%s cached=%v %s", v.Name, v.Cached, v.Error))
				}
			}
			for _, v := range st.Statuses {
				seen.steps = append(seen.steps, v.ID)
			}
			for _, l := range st.Logs {
				seen.text += string(l.Data)
			}
		}
	})
	answer, err := c.Build(ctx, solve, "buildx", func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		return g.Solve(ctx, gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: attrs})
	}, status)
	follow.Wait()
	if err != nil {
		return nil, seen, err
	}
	return answer.ExporterResponse, seen, nil
}

// secrets are values for RUN --mount=type=secret.
type secretValues map[string][]byte

func (v secretValues) GetSecret(_ context.Context, id string) ([]byte, error) {
	return v[id], nil
}

// kept is a file that an exporter writes.
type kept struct {
	mu   sync.Mutex
	data []byte
}

func (k *kept) open(map[string]string) (io.WriteCloser, error) { return k, nil }

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data = append(k.data, p...)
	return len(p), nil
}

func (k *kept) Close() error { return nil }

var _ filesync.FileOutputFunc = (*kept)(nil).open

// readTrace reads the answer to POST /build?version=2.
func readTrace(t *testing.T, text string) (trace, image string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var m struct {
			ID, Error string
			Aux       json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch m.ID {
		case "moby.buildkit.trace":
			var data []byte
			var st controlapi.StatusResponse
			if err := errors.Join(json.Unmarshal(m.Aux, &data), proto.Unmarshal(data, &st)); err != nil {
				t.Fatal(err)
			}
			trace += st.String()
		case "moby.image.id":
			var id struct{ ID string }
			if err := json.Unmarshal(m.Aux, &id); err != nil {
				t.Fatal(err)
			}
			image = id.ID
		default:
			trace += m.Error
		}
	}
	return trace, image
}
