package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image/imagetest"
	"tutti/runtime/image/registry"
)

// craft is a registry of one repository in the test's own process, whose answers a test bends.
type craft struct {
	mu       sync.Mutex
	blobs    map[digest.Digest][]byte
	types    map[digest.Digest]string // media types of manifests
	tag      digest.Digest
	requests int
}

// newCraft holds a good image, of whose parts mutate may change the manifest.
func newCraft(t *testing.T, mutate func(*ocispec.Manifest)) *craft {
	t.Helper()
	c := &craft{blobs: map[digest.Digest][]byte{}, types: map[digest.Digest]string{}}
	layer, err := imagetest.Layer(imagetest.File{Path: "text", Body: strings.Repeat("body ", 2000)})
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, digest.FromBytes(layer))
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: c.add(ocispec.MediaTypeImageConfig, []byte(config)), Layers: []ocispec.Descriptor{c.add(ocispec.MediaTypeImageLayer, layer)},
	}
	if mutate != nil {
		mutate(&m)
	}
	c.tag = c.json(ocispec.MediaTypeImageManifest, m).Digest
	return c
}

func (c *craft) add(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	c.blobs[d], c.types[d] = data, mediaType
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (c *craft) json(mediaType string, v any) ocispec.Descriptor {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return c.add(mediaType, data)
}

func (c *craft) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	at := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	d := digest.Digest(at)
	if at == "v1" {
		d = c.tag
	}
	data, ok := c.blobs[d]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if strings.Contains(r.URL.Path, "/manifests/") {
		w.Header().Set("Content-Type", c.types[d])
	}
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}

// index makes the tag an index.
func (c *craft) index(manifests ...ocispec.Descriptor) ocispec.Descriptor {
	d := c.json(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
	c.tag = d.Digest
	return d
}

// bend is a registry whose answers to some requests are others. before returns false when it has not answered.
func bend(c *craft, before func(http.ResponseWriter, *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !before(w, r) {
			c.ServeHTTP(w, r)
		}
	})
}

func isLayer(c *craft, r *http.Request) bool {
	for d, mediaType := range c.types {
		if mediaType == ocispec.MediaTypeImageLayer && strings.HasSuffix(r.URL.Path, "/blobs/"+d.String()) {
			return true
		}
	}
	return false
}

// hostileCase is a registry and what is wanted of a pull from it.
type hostileCase struct {
	handler func(t *testing.T) http.Handler
	want    string // in the error; empty: the pull succeeds in the end
	limit   int    // of requests
}

// onLayer bends the answer to the request for the layer.
func onLayer(answer func(w http.ResponseWriter, r *http.Request, body []byte)) func(*testing.T) http.Handler {
	return func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		return bend(c, func(w http.ResponseWriter, r *http.Request) bool {
			if !isLayer(c, r) {
				return false
			}
			answer(w, r, c.blobs[digest.Digest(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])])
			return true
		})
	}
}

// onAll answers everything.
func onAll(answer http.HandlerFunc) func(*testing.T) http.Handler {
	return func(*testing.T) http.Handler { return answer }
}

// firstTimes answers the first n requests otherwise.
func firstTimes(n int, answer http.HandlerFunc) func(*testing.T) http.Handler {
	return func(t *testing.T) http.Handler {
		var mu sync.Mutex
		return bend(newCraft(t, nil), func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			n--
			again := n >= 0
			mu.Unlock()
			if again {
				answer(w, r)
			}
			return again
		})
	}
}

// endless writes until the other side has had enough.
func endless(w io.Writer, part []byte) {
	for {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

// silence answers nothing until the client goes away.
func silence(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func mutated(change func(*ocispec.Manifest)) func(*testing.T) http.Handler {
	return func(t *testing.T) http.Handler { return newCraft(t, change) }
}

var hostileRegistries = map[string]hostileCase{
	"stalls before the answer": {handler: onAll(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), want: "stopped answering"},
	"stalls in a layer": {handler: onLayer(func(w http.ResponseWriter, r *http.Request, body []byte) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:100])
		silence(w, r)
	}), want: "stopped answering"},
	"a byte now and then": {handler: onLayer(func(w http.ResponseWriter, r *http.Request, body []byte) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		for i := range body {
			_, _ = w.Write(body[i : i+1])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(hostileStall / 4):
			}
		}
	}), want: "stopped answering"},
	"garbage": {handler: onAll(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>\x1b[31mhello</html>"))
	}), want: `"text/html", which is no image`},
	"garbage for a manifest": {handler: func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		c.tag = c.add(ocispec.MediaTypeImageManifest, []byte("{not json\x1b[2J")).Digest
		return c
	}, want: "invalid character"},
	"wrong digest": {handler: onLayer(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		_, _ = w.Write(append([]byte("x"), body[1:]...))
	}), want: "unexpected commit digest"},
	"too short":      {handler: onLayer(func(w http.ResponseWriter, _ *http.Request, body []byte) { _, _ = w.Write(body[:200]) }), want: "EOF"},
	"too long":       {handler: onLayer(func(w http.ResponseWriter, _ *http.Request, body []byte) { _, _ = w.Write(append(body, body...)) }), want: "more than the"},
	"without an end": {handler: onLayer(func(w http.ResponseWriter, _ *http.Request, body []byte) { endless(w, body) }), want: "more than the"},
	"a bomb for an encoding": {handler: func(t *testing.T) http.Handler {
		part := gzipped(t, make([]byte, 1<<20)) // which can be sent at once: nobody is to wait for its making
		return onLayer(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(w, part)
		})(t)
	}, want: "more than the"},
	"a manifest without an end": {handler: onAll(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		if r.Method != http.MethodHead {
			endless(w, make([]byte, 1<<16))
		}
	}), want: "more than 8388608 bytes"},
	"a huge manifest": {handler: onAll(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", digest.FromString("x").String())
		w.Header().Set("Content-Length", "100000000000")
	}), want: "rejecting 100000000000 byte manifest"},
	"a huge configuration":           {handler: mutated(func(m *ocispec.Manifest) { m.Config.Size = 1 << 40 }), want: "more than 16777216"},
	"a negative size":                {handler: mutated(func(m *ocispec.Manifest) { m.Layers[0].Size = -5 }), want: "of -5 bytes"},
	"no digest":                      {handler: mutated(func(m *ocispec.Manifest) { m.Layers[0].Digest = "garbage" }), want: `refers to "garbage"`},
	"no digest of a configuration":   {handler: mutated(func(m *ocispec.Manifest) { m.Config.Digest = "md5:../../etc" }), want: "refers to"},
	"wrong media type":               {handler: mutated(func(m *ocispec.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }), want: "no image that can be run"},
	"a layer that is something else": {handler: mutated(func(m *ocispec.Manifest) { m.Layers[0].MediaType = "image/png" }), want: "no image that can be run"},
	"a missing layer":                {handler: mutated(func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("nothing") }), want: "not found"},
	"more layers than diffs":         {handler: mutated(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }), want: "don't match"},
	"thousands of layers": {handler: mutated(func(m *ocispec.Manifest) {
		for range 2000 {
			m.Layers = append(m.Layers, m.Layers[0])
		}
	}), want: "more than the 500"},
	"other addresses for a layer": {handler: func(t *testing.T) http.Handler {
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another address was asked") }))
		t.Cleanup(elsewhere.Close)
		return newCraft(t, func(m *ocispec.Manifest) { m.Layers[0].URLs = []string{elsewhere.URL + "/layer"} })
	}},
	"indexes in indexes": {handler: func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: c.tag, Size: int64(len(c.blobs[c.tag]))}
		for range 10 {
			d = c.index(d)
		}
		return c
	}, want: "index in an index"},
	"an empty index": {handler: func(t *testing.T) http.Handler { c := newCraft(t, nil); c.index(); return c }, want: "no matching manifest for linux/"},
	"an index of something else": {handler: func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		c.index(c.add("application/x-thing", []byte("thing")))
		return c
	}, want: "no matching manifest for linux/"},
	"huge headers":          {handler: onAll(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Huge", strings.Repeat("x", 1<<20)) }), want: "exceeded"},
	"redirects in a circle": {handler: onAll(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }), want: "redirects more than 10 times"},
	"redirects to plain HTTP": {handler: onAll(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://registry.invalid/v2/x?signature=secret", http.StatusTemporaryRedirect)
	}), want: "plain HTTP on registry.invalid"},
	"too many requests": {handler: firstTimes(2, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}), limit: 10},
	"too many requests for an hour": {handler: onAll(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}), want: "asks to wait 1h0m0s"},
	"broken for a moment": {handler: firstTimes(2, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })},
	"forbidden": {handler: onAll(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"\u001b[31mno \n entry` + strings.Repeat("!", 5000) + `"}]}`))
	}), want: "to log in: tutti login 127.0.0.1:"},
}

// hostileStall is how long these tests wait for a registry that stalls. The others are not about time, of which a machine
// with much to do has none.
const hostileStall = 400 * time.Millisecond

func (c *hostileCase) stall() time.Duration {
	if c.want == "stopped answering" {
		return hostileStall
	}
	return 2 * time.Minute
}

// Whatever a registry does: an error that names the image and the registry, in bounded time and memory, and a store that is
// as it was.
func TestImageHostileRegistries(t *testing.T) {
	t.Parallel()
	all := maps.Clone(hostileRegistries)
	maps.Copy(all, hostileParts)
	for what, c := range all {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var requests requestCount
			server := httptest.NewServer(requests.of(c.handler(t)))
			server.Config.ErrorLog = nil
			t.Cleanup(server.Close)
			address := strings.TrimPrefix(server.URL, "http://")
			s := openStore(t)
			configure(t, s, registry.Options{Dirs: []string{t.TempDir()}, Stall: c.stall()})
			before := storeFiles(t, s)
			image, err := s.Pull(t.Context(), address+"/team/app:v1", PullOptions{})
			if c.limit > 0 && requests.n > c.limit {
				t.Errorf("%d requests", requests.n)
			}
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Lower(t.Context(), image); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("pulled")
			}
			text := err.Error()
			if !strings.Contains(text, c.want) || !strings.HasPrefix(text, "pull "+address+"/team/app:v1 for ") || !strings.Contains(text, "registry "+address+": ") && !strings.Contains(text, ": unpack layer sha256:") {
				t.Errorf("%q does not say %q, the image or the registry", text, c.want)
			}
			if strings.ContainsAny(text, "\x1b\n") || len(text) > 2000 || strings.Contains(text, "secret") {
				t.Errorf("not fit to be shown: %q", text)
			}
			checkUnchanged(t, s, before)
		})
	}
}

// requestCount counts requests.
type requestCount struct {
	mu sync.Mutex
	n  int
}

func (c *requestCount) of(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.n++
		c.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// checkUnchanged wants a store to have what it had before a failed pull, and to work.
func checkUnchanged(t *testing.T, s *Store, before string) {
	t.Helper()
	if err := s.content.Walk(scope(t.Context()), func(i content.Info) error { return nil }); err != nil {
		t.Error(err)
	}
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Error(err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("images %v, %v", list, err)
	}
	if after := storeFiles(t, s); after != before {
		t.Errorf("the store has\n%s, and had\n%s", after, before)
	}
	address := imagetest.StartRegistry(t, false)
	configure(t, s, registry.Options{Dirs: []string{t.TempDir()}}) // which may be slow, on a busy machine
	imagetest.Push(t, address+"/fine:v1", testImage("fine"))
	image, err := s.Pull(t.Context(), address+"/fine:v1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkLayers(t, s, image, "fine")
}

// storeFiles lists a store's blobs and layers.
func storeFiles(t *testing.T, s *Store) string {
	t.Helper()
	var list []string
	for _, dir := range []string{"content/blobs", "snapshots"} {
		err := filepath.WalkDir(filepath.Join(s.root, dir), func(path string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) || err == nil && d.IsDir() && dir == "content/blobs" {
				return nil
			}
			list = append(list, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(list, "\n")
}
