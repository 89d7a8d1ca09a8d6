package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/platforms"
	"golang.org/x/crypto/bcrypt"
)

const testUser, testPassword = "tutti", "correct horse"

var listening = regexp.MustCompile(`listening on (\[::\]|127\.0\.0\.1):(\d+)`)

// startRegistry runs Debian's docker-registry on a free loopback port and returns
// its address. With auth it wants testUser and testPassword.
func startRegistry(t *testing.T, auth bool) string {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: '127.0.0.1:0'}\n", dir)
	if auth {
		hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		writeTestFile(t, filepath.Join(dir, "htpasswd"), testUser+":"+string(hash)+"\n")
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n", dir)
	}
	writeTestFile(t, filepath.Join(dir, "config.yml"), config)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := exec.CommandContext(ctx, "docker-registry", "serve", filepath.Join(dir, "config.yml"))
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start docker-registry (Debian: docker-registry): %v", err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			drained := make(chan struct{})
			go func() { defer close(drained); _, _ = io.Copy(io.Discard, output) }()
			t.Cleanup(func() { cancel(); <-drained; _ = cmd.Wait() })
			return net.JoinHostPort("127.0.0.1", m[2])
		}
	}
	cancel()
	t.Fatalf("docker-registry ended: %v", cmd.Wait())
	return ""
}

func writeTestFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// push sends an image of the store to a registry.
func push(t *testing.T, s *Store, ref, target string, auth Auth) {
	t.Helper()
	image, err := s.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	ctx := scope(t.Context())
	pusher, err := s.clients.image(target, auth).resolver.Pusher(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	if err := remotes.PushContent(ctx, pusher, image.target, s.content, nil, platforms.All, nil); err != nil {
		t.Fatal(err)
	}
}

func testAuth(host string) (string, string, error) {
	if !strings.HasPrefix(host, "127.0.0.1:") {
		return "", "", fmt.Errorf("credentials were asked for host %q", host)
	}
	return testUser, testPassword, nil
}

func TestImagePull(t *testing.T) {
	t.Parallel()
	for _, auth := range []bool{false, true} {
		t.Run(fmt.Sprintf("auth=%v", auth), func(t *testing.T) {
			t.Parallel()
			name := startRegistry(t, auth) + "/team/app:v1"
			var credentials Auth
			if auth {
				credentials = testAuth
			}
			source := openStore(t)
			want := load(t, source, testImage("pulled", "app"))[0]
			push(t, source, "app", name, credentials)

			s := openStore(t)
			if _, err := s.Get(t.Context(), name); !errors.Is(err, ErrNotFound) {
				t.Fatalf("before the pull: %v, want ErrNotFound", err)
			}
			var mu sync.Mutex
			var events []Status
			image, err := s.Pull(t.Context(), name, PullOptions{Auth: credentials, Progress: func(p Progress) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, p.Status)
			}})
			if err != nil {
				t.Fatal(err)
			}
			if image.ID != want.ID || !slices.Equal(image.Names, []string{name}) {
				t.Errorf("pulled %s %q, want %s", image.ID, image.Names, want.ID)
			}
			if repo, _, _ := strings.Cut(name, ":v1"); !slices.Equal(image.RepoDigests, []string{repo + "@" + image.Digest.String()}) {
				t.Errorf("digests %q", image.RepoDigests)
			}
			checkLayers(t, s, image, "pulled")
			if !slices.Contains(events, StatusWaiting) {
				t.Errorf("progress %v", events)
			}
			if err := s.GarbageCollect(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkLayers(t, s, image, "pulled")
			byDigest, err := s.Pull(t.Context(), strings.TrimSuffix(name, ":v1")+"@"+image.Digest.String(), PullOptions{Auth: credentials})
			if err != nil || byDigest.ID != want.ID {
				t.Errorf("pull by digest: %s, %v", byDigest.ID, err)
			}
		})
	}
}

func TestImagePullFails(t *testing.T) {
	t.Parallel()
	address := startRegistry(t, true)
	s := openStore(t)
	wrong := func(string) (string, string, error) { return testUser, "wrong", nil }
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
		if err != nil && strings.Contains(err.Error(), testPassword) {
			t.Errorf("%s: the password is in the error", name)
		}
	}
}

// A registry that sends other bytes than it promised must not get them stored.
func TestImagePullChecksDigests(t *testing.T) {
	t.Parallel()
	address := startRegistry(t, false)
	source := openStore(t)
	load(t, source, testImage("pulled", "app"))
	push(t, source, "app", address+"/app:v1", nil)
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get("http://" + address + r.URL.String()) //nolint:noctx // test
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
	name := startRegistry(t, false) + "/app:v1"
	source := openStore(t)
	load(t, source, testImage("many", "app"))
	push(t, source, "app", name, nil)
	s := openStore(t)
	var group sync.WaitGroup
	for range 8 {
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
