package image

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"tutti/runtime/image/imagetest"
)

func testAuth(host string) (string, string, error) {
	if !strings.HasPrefix(host, "127.0.0.1:") {
		return "", "", fmt.Errorf("credentials were asked for host %q", host)
	}
	return imagetest.User, imagetest.Password, nil
}

func TestImagePull(t *testing.T) {
	t.Parallel()
	for _, auth := range []bool{false, true} {
		t.Run(fmt.Sprintf("auth=%v", auth), func(t *testing.T) {
			t.Parallel()
			repo := imagetest.StartRegistry(t, auth) + "/team/app"
			digest := imagetest.Push(t, repo+":v1", testImage("pulled"))
			var credentials Auth
			if auth {
				credentials = testAuth
			}
			s := openStore(t)
			if _, err := s.Get(t.Context(), repo+":v1"); !errors.Is(err, ErrNotFound) {
				t.Fatalf("before the pull: %v, want ErrNotFound", err)
			}
			var events []Progress
			image, err := s.Pull(t.Context(), repo+":v1", PullOptions{Auth: credentials, Progress: func(p Progress) { events = append(events, p) }})
			if err != nil {
				t.Fatal(err)
			}
			if image.Digest != digest || !slices.Equal(image.Names, []string{repo + ":v1"}) {
				t.Errorf("pulled %s %q, want %s", image.Digest, image.Names, digest)
			}
			if !slices.Equal(image.RepoDigests, []string{repo + "@" + digest.String()}) {
				t.Errorf("digests %q", image.RepoDigests)
			}
			checkProgress(t, events, repo+":v1")
			if err := s.GarbageCollect(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkLayers(t, s, image, "pulled")
			byDigest, err := s.Pull(t.Context(), repo+"@"+digest.String(), PullOptions{Auth: credentials})
			if err != nil || byDigest.ID != image.ID {
				t.Errorf("pull by digest: %s, %v", byDigest.ID, err)
			}
		})
	}
}

// checkProgress wants both layers to begin and to end.
func checkProgress(t *testing.T, events []Progress, name string) {
	t.Helper()
	last := map[string]Status{}
	for _, p := range events {
		if p.Image != name || len(p.Layer) != 12 {
			t.Errorf("progress %+v", p)
		}
		last[p.Layer] = p.Status
	}
	if len(last) != 2 {
		t.Errorf("progress of layers %v, want two", last)
	}
	for layer, status := range last {
		if status != StatusComplete && status != StatusExists {
			t.Errorf("layer %s ends with %q", layer, status)
		}
	}
}

func TestImagePullPlatform(t *testing.T) {
	t.Parallel()
	name := imagetest.StartRegistry(t, false) + "/app:v1"
	foreign := testImage("foreign")
	foreign.Arch = "s390x"
	imagetest.Push(t, name, foreign, testImage("native"))
	s := openStore(t)
	native, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkLayers(t, s, native, "native")
	other, err := s.Pull(t.Context(), name, PullOptions{Platform: "linux/s390x"})
	if err != nil {
		t.Fatal(err)
	}
	if other.Platform() != "linux/s390x" {
		t.Errorf("platform %s", other.Platform())
	}
	checkLayers(t, s, other, "foreign")
	if _, err := s.Pull(t.Context(), name, PullOptions{Platform: "linux/riscv64"}); err == nil || !strings.Contains(err.Error(), "linux/riscv64") {
		t.Errorf("a platform that is not there: %v", err)
	}
}

func TestImagePullFails(t *testing.T) {
	t.Parallel()
	address := imagetest.StartRegistry(t, true)
	s := openStore(t)
	wrong := func(string) (string, string, error) { return imagetest.User, "wrong", nil }
	for name, o := range map[string]PullOptions{
		"anonymous":      {},
		"wrong password": {Auth: wrong},
		"no such image":  {Auth: testAuth},
		"platform":       {Auth: testAuth, Platform: "no/such/thing/at/all"},
	} {
		_, err := s.Pull(t.Context(), address+"/team/missing", o)
		if err == nil || !strings.Contains(err.Error(), "team/missing") {
			t.Errorf("%s: %v, want an error with the image's name", name, err)
		}
		if err != nil && strings.Contains(err.Error(), imagetest.Password) {
			t.Errorf("%s: the password is in the error", name)
		}
	}
}

// A registry that sends other bytes than it promised must not get them stored.
func TestImagePullChecksDigests(t *testing.T) {
	t.Parallel()
	address := imagetest.StartRegistry(t, false)
	imagetest.Push(t, address+"/app:v1", testImage("pulled"))
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get("http://" + address + r.URL.String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		for key := range response.Header {
			w.Header().Set(key, response.Header.Get(key))
		}
		w.WriteHeader(response.StatusCode)
		body, _ := io.ReadAll(response.Body)
		if strings.Contains(r.URL.Path, "/blobs/") && len(body) > 600 {
			body[600] ^= 1
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(liar.Close)
	s := openStore(t)
	_, err := s.Pull(t.Context(), strings.TrimPrefix(liar.URL, "http://")+"/app:v1", PullOptions{})
	if err == nil {
		t.Error("a layer with a wrong digest was accepted")
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("store has %v, %v; want nothing", list, err)
	}
}

func TestImageConcurrentPulls(t *testing.T) {
	t.Parallel()
	address := imagetest.StartRegistry(t, false)
	imagetest.Push(t, address+"/one:v1", testImage("one"))
	imagetest.Push(t, address+"/two:v1", testImage("two")) // shares a layer
	s := openStore(t)
	var group sync.WaitGroup
	for i := range 8 {
		name := address + []string{"/one:v1", "/two:v1"}[i%2]
		group.Go(func() {
			if image, err := s.Pull(t.Context(), name, PullOptions{}); err != nil {
				t.Error(err)
			} else if _, err := s.Lower(t.Context(), image); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
