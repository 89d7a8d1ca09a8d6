package build

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"tutti/runtime/image"
)

// shownBy builds and returns the result with what was shown of the steps, by name.
func shownBy(t *testing.T, b *Builder, r Request) (Result, map[string]client.Vertex) {
	t.Helper()
	status := make(chan *client.SolveStatus)
	shown := map[string]client.Vertex{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range status {
			for _, v := range s.Vertexes {
				shown[v.Name] = *v
			}
		}
	}()
	result, err := b.Build(t.Context(), r, status)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return result, shown
}

// isRepeated tells whether a build is answered without BuildKit: in each of its own runs the Dockerfile is another source.
func isRepeated(t *testing.T, b *Builder, r Request) bool {
	t.Helper()
	const source = "[internal] load build definition from Dockerfile"
	_, before := shownBy(t, b, r)
	_, after := shownBy(t, b, r)
	if before[source].Digest == "" || after[source].Digest == "" {
		t.Fatalf("no source of the Dockerfile in %q", slices.Collect(maps.Keys(after)))
	}
	return before[source].Digest == after[source].Digest
}

// site is a build that could be repeated, and what a case changes about it.
type site struct {
	b   *Builder
	dir string
	r   Request
	t   *testing.T
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) write(name, text string) { s.do(os.WriteFile(s.file(name), []byte(text), 0o644)) }

// image builds an image whose file /which says which.
func (s *site) image(name, which string) {
	build(s.t, s.b, Request{Context: s.t.TempDir(), DockerfileInline: "FROM busybox\nRUN echo " + which + " > /which", Tags: []string{name}})
}

var repeated = map[string]struct {
	prepare func(*site)
	change  func(*site)
	same    bool // the change does not count
}{
	"nothing":          {change: func(*site) {}, same: true},
	"ignored file":     {change: func(s *site) { s.write("debug.log", "more") }, same: true},
	"time of a folder": {change: func(s *site) { s.do(os.Chtimes(s.file("sub"), time.Now(), time.Now())) }, same: true},
	"another image":    {change: func(s *site) { s.image("unrelated", "x") }, same: true},
	"secret's value": {
		prepare: func(s *site) { s.r.Secrets = []Secret{{ID: "s", Value: []byte("one")}} },
		change:  func(s *site) { s.r.Secrets = []Secret{{ID: "s", Value: []byte("two")}} }, same: true,
	},
	"text": {change: func(s *site) { s.write("a", "longer text") }},
	"text of the same size and time": {change: func(s *site) {
		info, err := os.Stat(s.file("a"))
		s.do(err)
		s.write("a", "A")
		s.do(os.Chtimes(s.file("a"), info.ModTime(), info.ModTime()))
	}},
	"mode":             {change: func(s *site) { s.do(os.Chmod(s.file("a"), 0o600)) }},
	"mode of a folder": {change: func(s *site) { s.do(os.Chmod(s.file("sub"), 0o700)) }},
	"new file":         {change: func(s *site) { s.write("sub/new", "n") }},
	"new empty folder": {change: func(s *site) { s.do(os.Mkdir(s.file("empty"), 0o755)) }},
	"removed file":     {change: func(s *site) { s.do(os.Remove(s.file("sub/b"))) }},
	"renamed file":     {change: func(s *site) { s.do(os.Rename(s.file("a"), s.file("c"))) }},
	"link":             {change: func(s *site) { s.do(os.Remove(s.file("l"))); s.do(os.Symlink("sub/b", s.file("l"))) }},
	"another folder in its place": {change: func(s *site) {
		s.do(os.Rename(s.dir, s.dir+"-old"))
		s.do(os.CopyFS(s.dir, os.DirFS(s.dir+"-old")))
	}},
	"dockerfile":               {change: func(s *site) { s.write("Dockerfile", "FROM busybox\nCOPY a /other") }},
	"ignore file":              {change: func(s *site) { s.write(".dockerignore", "sub\n*.log") }},
	"dockerfile's ignore file": {change: func(s *site) { s.write("Dockerfile.dockerignore", "sub") }},
	"argument":                 {change: func(s *site) { s.r.Args = map[string]string{"X": "2"} }},
	"label":                    {change: func(s *site) { s.r.Labels = map[string]string{"x": "y"} }},
	"host":                     {change: func(s *site) { s.r.ExtraHosts = map[string][]string{"x": {"1.2.3.4"}} }},
	"another tag":              {change: func(s *site) { s.r.Tags = append(s.r.Tags, s.r.Tags[0]+"-more") }},
	"base": {
		prepare: func(s *site) { s.image("moved", "one"); s.write("Dockerfile", "FROM moved\nCOPY . /x") },
		change:  func(s *site) { s.image("moved", "two") },
	},
	"image that is copied from": {
		prepare: func(s *site) {
			s.image("source", "one")
			s.write("Dockerfile", "FROM busybox\nCOPY --from=source /which /x")
		},
		change: func(s *site) { s.image("source", "two") },
	},
	"additional image": {
		prepare: func(s *site) {
			s.image("extra", "one")
			s.write("Dockerfile", "FROM busybox\nCOPY --from=more /which /x")
			s.r.AdditionalContexts = map[string]string{"more": "docker-image://extra"}
		},
		change: func(s *site) { s.image("extra", "two") },
	},
	"built image": {
		prepare: func(s *site) {
			s.image("service", "one")
			s.write("Dockerfile", "FROM base\nCOPY . /x")
			s.r.BuiltContexts = map[string]string{"base": "service"}
		},
		change: func(s *site) { s.image("service", "two") },
	},
	"additional folder": {
		prepare: func(s *site) {
			s.write("Dockerfile", "FROM busybox\nCOPY --from=more b /x")
			s.r.AdditionalContexts = map[string]string{"more": s.file("sub")}
		},
		change: func(s *site) { s.write("sub/b", "other") },
	},
	"result was renamed": {change: func(s *site) { s.do(s.b.store.Tag(s.t.Context(), "busybox", s.r.Tags[0])) }},
	"result was removed": {change: func(s *site) {
		_, err := s.b.store.Remove(s.t.Context(), s.r.Tags[0], image.RemoveOptions{Force: true})
		s.do(err)
	}},
	"inline text": {
		prepare: func(s *site) { s.r.DockerfileInline = "FROM busybox\nCOPY a /a" },
		change:  func(s *site) { s.r.DockerfileInline = "FROM busybox\nCOPY a /b" },
	},
}

// What has not changed is answered at once and looks like a cached build; any change is noticed.
func TestRepeat(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	b.repeats.racy = 0 // the files are new
	for name, c := range repeated {
		t.Run(name, func(t *testing.T) {
			tag := "repeat-" + digest.FromString(name).Encoded()[:12]
			s := &site{b: b, t: t, dir: folder(t, map[string]string{
				"Dockerfile": "FROM busybox\nARG X=1\nCOPY . /x\nRUN echo $X > /y", ".dockerignore": "*.log", "a": "a", "sub/b": "b", "debug.log": "one",
			})}
			s.do(os.Symlink("a", s.file("l")))
			s.r = Request{Context: s.dir, Tags: []string{tag}}
			if c.prepare != nil {
				c.prepare(s)
			}
			build(t, b, s.r)
			cached, want := shownBy(t, b, s.r)
			again, got := shownBy(t, b, s.r)
			if again.ID != cached.ID || !maps.Equal(again.Metadata, cached.Metadata) {
				t.Errorf("result %s %v, want %s %v", again.ID, again.Metadata, cached.ID, cached.Metadata)
			}
			for step, v := range want {
				if g := got[step]; g.Digest != v.Digest || g.Cached != v.Cached || g.Completed == nil || !g.Completed.After(*v.Completed) {
					t.Errorf("step %q: shown %+v, want it as %+v", step, g, v)
				}
			}
			c.change(s)
			_, after := shownBy(t, b, s.r)
			if same := sameSources(want, after); same != c.same {
				t.Errorf("answered as before: %v, want %v", same, c.same)
			}
			if !isRepeated(t, b, s.r) {
				t.Error("not answered at once when it was built after the change")
			}
		})
	}
	t.Run("pruned", func(t *testing.T) { testRepeatPruned(t, b) })
	t.Run("never", func(t *testing.T) { testNotRepeated(t, b) })
}

// sameSources tells whether sources that are of one build alone were shown again.
func sameSources(before, after map[string]client.Vertex) bool {
	for name, v := range before {
		if strings.HasPrefix(name, "[internal] load build definition") {
			return after[name].Digest == v.Digest
		}
	}
	return false
}

func testRepeatPruned(t *testing.T, b *Builder) {
	r := Request{Context: folder(t, map[string]string{"Dockerfile": "FROM busybox\nRUN date +%N > /now"}), Tags: []string{"pruned"}}
	build(t, b, r)
	build(t, b, r)
	if !isRepeated(t, b, r) {
		t.Fatal("not answered at once")
	}
	if _, err := b.Prune(t.Context(), client.PruneInfo{All: true}); err != nil {
		t.Fatal(err)
	}
	if isRepeated(t, b, r) {
		t.Error("answered at once without a cache")
	}
}

func testNotRepeated(t *testing.T, b *Builder) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("text")) }))
	defer server.Close()
	plain := func() Request {
		return Request{Context: folder(t, map[string]string{"Dockerfile": "FROM busybox\nCOPY Dockerfile /x"}), Tags: []string{"never"}}
	}
	for name, change := range map[string]func(*Request){
		"no cache":    func(r *Request) { r.NoCache = true },
		"filter":      func(r *Request) { r.NoCacheFilter = []string{"x"} },
		"output":      func(r *Request) { r.Outputs = []Output{{Type: "local", Dest: t.TempDir()}} },
		"cache to":    func(r *Request) { r.CacheTo = []string{"type=local,dest=" + t.TempDir()} },
		"url":         func(r *Request) { r.DockerfileInline = "FROM busybox\nADD " + server.URL + "/f /f" },
		"attestation": func(r *Request) { r.Provenance = "mode=min" },
		"recent file": func(r *Request) {
			if err := os.WriteFile(filepath.Join(r.Context, "f"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			r.DockerfileInline = "FROM busybox\nCOPY f /f"
			b.repeats.racy = time.Hour
		},
	} {
		r := plain()
		change(&r)
		build(t, b, r)
		if isRepeated(t, b, r) {
			t.Errorf("%s: answered at once", name)
		}
		b.repeats.racy = 0
	}
}
