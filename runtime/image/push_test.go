package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"tutti/runtime/image/imagetest"
	"tutti/runtime/image/registry"
)

// What is pushed must be what another store pulls, under the same digest, with and without a login.
func TestImagePush(t *testing.T) {
	t.Parallel()
	for _, auth := range []bool{false, true} {
		t.Run(fmt.Sprintf("auth=%v", auth), func(t *testing.T) {
			t.Parallel()
			address := imagetest.StartRegistry(t, auth)
			var credentials Auth
			if auth {
				credentials = testAuth
			}
			s := openStore(t)
			name := address + "/team/app:v1"
			local := load(t, s, testImage("pushed", name))[0]
			var events []Progress
			pushed, err := s.Push(t.Context(), name, PushOptions{Auth: credentials, Progress: func(p Progress) { events = append(events, p) }})
			if err != nil {
				t.Fatal(err)
			}
			statuses := map[string]Status{}
			for _, e := range events {
				statuses[e.Layer] = e.Status
			}
			for layer, status := range statuses {
				if status != StatusPushed && status != StatusPushExists {
					t.Errorf("layer %s ends with %q", layer, status)
				}
			}
			if len(statuses) != 2 || pushed.Digest != local.Digest {
				t.Errorf("pushed %+v with layers %v, want %s", pushed, statuses, local.Digest)
			}
			if now, err := s.Get(t.Context(), name); err != nil || len(now.RepoDigests) != 1 || now.RepoDigests[0] != address+"/team/app@"+local.Digest.String() {
				t.Errorf("pushed, the image is known as %v, %v", now.RepoDigests, err)
			}
			other := openStore(t)
			pulled, err := other.Pull(t.Context(), name, PullOptions{Auth: credentials})
			if err != nil || pulled.ID != local.ID {
				t.Fatalf("pulled %s, %v, want %s", pulled.ID, err, local.ID)
			}
			checkLayers(t, other, pulled, "pushed")
			// Again, and under another name: nothing is sent twice.
			if err := s.Tag(t.Context(), name, address+"/team/other:v2"); err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{name, address + "/team/other:v2"} {
				if _, err := s.Push(t.Context(), n, PushOptions{Auth: credentials}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestImagePushFails(t *testing.T) {
	t.Parallel()
	address := imagetest.StartRegistry(t, true)
	s := openStore(t)
	load(t, s, testImage("pushed", address+"/app:v1"))
	wrong := func(string) (string, string, error) { return imagetest.User, "wrong", nil }
	for what, o := range map[string]PushOptions{"anonymous": {}, "wrong password": {Auth: wrong}} {
		if _, err := s.Push(t.Context(), address+"/app:v1", o); err == nil || !strings.Contains(err.Error(), address+"/app:v1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Push(t.Context(), address+"/missing:v1", PushOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
}

// Of an index, of which the store has this host's image only, that image is pushed.
func TestImagePushPartOfIndex(t *testing.T) {
	t.Parallel()
	address := imagetest.StartRegistry(t, false)
	foreign := testImage("foreign")
	foreign.Arch = "s390x"
	imagetest.Push(t, address+"/multi:v1", foreign, testImage("native"))
	s := openStore(t)
	image, err := s.Pull(t.Context(), address+"/multi:v1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(t.Context(), image.ID, address+"/single:v1"); err != nil {
		t.Fatal(err)
	}
	pushed, err := s.Push(t.Context(), address+"/single:v1", PushOptions{})
	if err != nil || pushed.Digest == image.Digest {
		t.Fatalf("pushed %s, %v: that is the whole index", pushed.Digest, err)
	}
	again, err := openStore(t).Pull(t.Context(), address+"/single:v1", PullOptions{})
	if err != nil || again.ID != image.ID {
		t.Errorf("%s, %v, want %s", again.ID, err, image.ID)
	}
}

func TestImageLogin(t *testing.T) {
	t.Parallel()
	address := imagetest.StartRegistry(t, true)
	s := openStore(t)
	if _, err := s.Login(t.Context(), address, testAuth); err != nil {
		t.Error(err)
	}
	wrong := func(string) (string, string, error) { return imagetest.User, "wrong", nil }
	if _, err := s.Login(t.Context(), address, wrong); !errors.Is(err, registry.ErrCredentials) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password: %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := s.Login(t.Context(), closed.Addr().String(), testAuth); err == nil || errors.Is(err, registry.ErrCredentials) {
		t.Errorf("nobody there: %v", err)
	}
}

// breakingProxy stands in front of a registry and breaks off the first so many answers to requests for blobs in the
// middle; it counts the bytes of blobs that it lets through.
func breakingProxy(t *testing.T, registry string, times int32) (address string, sent *atomic.Int64) {
	t.Helper()
	target, err := url.Parse("http://" + registry)
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Int32
	sent = &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodGet && strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > 1000 {
			r.Body = &countedBody{ReadCloser: r.Body, sent: sent}
			if broken.Add(1) <= times {
				r.Body = &brokenBody{ReadCloser: r.Body, left: r.ContentLength / 2}
			}
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), sent
}

type countedBody struct {
	io.ReadCloser
	sent *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sent.Add(int64(n))
	return n, err
}

type brokenBody struct {
	io.ReadCloser
	left int64
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		panic(http.ErrAbortHandler)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A connection that breaks in a layer is made again, and the layer goes on where it stopped.
func TestImagePullGoesOn(t *testing.T) {
	t.Parallel()
	registry := imagetest.StartRegistry(t, false)
	big := make([]byte, 4<<20)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	image := testImage("big")
	image.Layers = append(image.Layers, []imagetest.File{{Path: "big", Body: string(big)}})
	imagetest.Push(t, registry+"/big:v1", image)
	proxy, sent := breakingProxy(t, registry, 2)
	s := openStore(t)
	if _, err := s.Pull(t.Context(), proxy+"/big:v1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := sent.Load(); n > 6<<20 {
		t.Errorf("%d bytes of a layer of 4 MiB: it was begun again", n)
	}
}

// hosts.toml leads to a mirror first; the registry itself is asked when the mirror has not got it. The mirror does not see
// the registry's credentials.
func TestImageMirror(t *testing.T) {
	t.Parallel()
	mirror := imagetest.StartRegistry(t, false)
	imagetest.Push(t, mirror+"/team/app:v1", testImage("from the mirror"))
	var stolen atomic.Bool
	spy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			stolen.Store(true)
		}
		target, _ := url.Parse("http://" + mirror)
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, r)
	}))
	t.Cleanup(spy.Close)
	address := imagetest.StartRegistry(t, true)
	s := openStore(t)
	load(t, s, testImage("from the registry", address+"/team/own:v1"))
	dir := t.TempDir()
	configure(t, s, registry.Options{Dirs: []string{filepath.Join(dir, "absent"), dir}})
	config := fmt.Sprintf("server = \"http://%s\"\n[host.\"%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", address, spy.URL)
	folder := filepath.Join(dir, address)
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	auth := func(host string) (string, string, error) {
		if host != address {
			return "", "", nil
		}
		return imagetest.User, imagetest.Password, nil
	}
	if _, err := s.Push(t.Context(), address+"/team/own:v1", PushOptions{Auth: auth}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"/team/app:v1": "from the mirror", "/team/own:v1": "from the registry"} {
		image, err := s.Pull(t.Context(), address+name, PullOptions{Auth: auth})
		if err != nil {
			t.Fatal(err)
		}
		checkLayers(t, s, image, text)
	}
	if stolen.Load() {
		t.Error("the mirror has been sent the registry's credentials")
	}
}

// What is saved must be readable: by this store with the same ids and names, and by skopeo in both formats.
func TestImageSave(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	images := load(t, s, testImage("one", "team/one:v1", "team/one:v2"), testImage("two", "two:latest"))
	var archive bytes.Buffer
	if err := s.Save(t.Context(), &archive, SaveOptions{Refs: []string{"team/one", "two", images[1].ID}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "saved.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	other := openStore(t)
	loaded, err := other.Load(t.Context(), &archive, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 2 || loaded[0].ID != images[0].ID || loaded[1].ID != images[1].ID {
		t.Errorf("loaded %v, want %v", loaded, images)
	}
	if got := fmt.Sprint(loaded[0].Names, loaded[1].Names); got != "[team/one:v1 team/one:v2] [two:latest]" {
		t.Errorf("names %s", got)
	}
	checkLayers(t, other, loaded[0], "one")
	for _, source := range []string{"docker-archive:" + path + ":docker.io/team/one:v2", "docker-archive:" + path + ":docker.io/library/two:latest"} {
		out := t.TempDir()
		if text, err := exec.Command("skopeo", "--insecure-policy", "copy", source, "oci:"+out+":x").CombinedOutput(); err != nil {
			t.Errorf("skopeo copy %s: %v\n%s", source, err, text)
		}
		// And what skopeo writes is read.
		back := filepath.Join(out, "back.tar")
		if text, err := exec.Command("skopeo", "--insecure-policy", "copy", "oci:"+out+":x", "oci-archive:"+back+":docker.io/team/back:v1").CombinedOutput(); err != nil {
			t.Fatalf("skopeo copy: %v\n%s", err, text)
		}
		file, err := os.Open(back)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if l, err := openStore(t).Load(t.Context(), file, LoadOptions{}); err != nil || len(l) != 1 || len(l[0].Names) != 1 || l[0].Names[0] != "team/back:v1" {
			t.Errorf("skopeo's archive: %v, %v", l, err)
		}
	}
	if err := s.Save(t.Context(), io.Discard, SaveOptions{Refs: []string{"no/such:image"}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
}

// What is removed must be gone from the disk's usage after the collection.
func TestImageDiskUsage(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	usage := func() int64 {
		t.Helper()
		n, err := s.DiskUsage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	empty := usage()
	image := load(t, s, testImage("one", "one:v1"))[0]
	sizes, err := s.LayerSizes(t.Context(), image)
	if err != nil || len(sizes) != 2 || sizes[0]+sizes[1] != image.Size {
		t.Errorf("layers of %v bytes, %v, in an image of %d", sizes, err, image.Size)
	}
	if full := usage(); full < empty+image.Size {
		t.Errorf("%d bytes after loading %d", full-empty, image.Size)
	}
	if _, err := s.Remove(t.Context(), "one:v1", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := usage(); left != empty {
		t.Errorf("%d bytes are left", left-empty)
	}
}
