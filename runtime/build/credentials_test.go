package build

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/moby/buildkit/client"

	"tutti/runtime/image/imagetest"
)

// Secrets, tokens in URLs and logins of registries are used, and stand nowhere afterwards: not in what is shown, in an
// error, in the image, in the cache's databases or in any other file; and no other host is told of them.
func TestCredentialsStayPrivate(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	const secret, token = "tell-nobody-5f3a", "ghp_7c1e99token"
	other := &eavesdropper{}
	server := httptest.NewServer(other)
	t.Cleanup(server.Close)
	git := withToken(t, gitServer(t, gitRepository(t), token), token)
	registry := imagetest.StartRegistry(t, true)
	imagetest.Push(t, registry+"/base:v1", imagetest.Image{Layers: [][]imagetest.File{{{Path: "text", Body: "base"}}}})
	var shown bytes.Buffer
	var mu sync.Mutex
	show := func(r Request) (Result, error) {
		status := make(chan *client.SolveStatus)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for s := range status {
				mu.Lock()
				shown.WriteString(marshal(t, s))
				mu.Unlock()
			}
		}()
		result, err := b.Build(t.Context(), r, status)
		<-done
		if err != nil {
			shown.WriteString(err.Error())
		}
		return result, err
	}
	auth := func(host string) (string, string, error) {
		if host != registry {
			return "", "", errors.New("asked for another host: " + host)
		}
		return imagetest.User, imagetest.Password, nil
	}
	web := withToken(t, protected(t, token, "of the web"), token)
	r := Request{
		Context: git, Auth: auth, Secrets: []Secret{{ID: "s", Value: []byte(secret)}}, Provenance: "mode=max",
		AdditionalContexts: map[string]string{"again": git + "#v1", "web": web + "/x"}, Tags: []string{"private:1"},
		DockerfileInline: "FROM " + registry + "/base:v1 AS base\nFROM busybox\nCOPY --from=base /text /text\nCOPY --from=again file /old\nCOPY --from=web context /web\nCOPY file /new\n" +
			"RUN --mount=type=secret,id=s,required=true wc -c < /run/secrets/s > /size\nRUN --mount=type=secret,id=s,env=S echo ${#S} >> /size\n" +
			"ADD " + server.URL + "/file /other",
	}
	result, err := show(r)
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, b, result.Image, "size", "16\n16\n")
	wantContent(t, b, result.Image, "old", "one\n")
	wantContent(t, b, result.Image, "web", "of the web")
	failing := r
	failing.Context = git + "#no-such-branch"
	if _, err := show(failing); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("error %v", err)
	}
	failing.Context = strings.Replace(git, token, "wrong-"+token, 1)
	if _, err := show(failing); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("error %v", err)
	}
	for name, text := range map[string]string{
		"what is shown": shown.String(), "the image": marshal(t, result), "the request of another host": other.heard(),
	} {
		for _, private := range []string{secret, token, imagetest.Password, base64.StdEncoding.EncodeToString([]byte("x-access:" + token))} {
			if strings.Contains(text, private) {
				t.Errorf("%s has %q: %s", name, private, text)
			}
		}
	}
	wantInNoFile(t, filepath.Dir(b.root), secret, token, imagetest.Password)
}

// protected is a server that answers who has the token as password.
func protected(t *testing.T, token, text string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != token {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func withToken(t *testing.T, raw, token string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("x-access", token)
	return u.String()
}

// wantInNoFile reads everything below a folder.
func wantInNoFile(t *testing.T, root string, private ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // folders of what just ended go away meanwhile
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		files++
		for _, p := range private {
			if bytes.Contains(data, []byte(p)) {
				t.Errorf("%s has %q", strings.TrimPrefix(path, root), p)
			}
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files read, %v", files, err)
	}
}

// eavesdropper remembers what it is told.
type eavesdropper struct {
	mu   sync.Mutex
	text strings.Builder
}

func (e *eavesdropper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text.WriteString(r.URL.String())
	if err := r.Header.Write(&e.text); err != nil {
		slog.Error("write", "error", err)
	}
	_, _ = w.Write([]byte("file"))
}

func (e *eavesdropper) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://user:pa%20ss@h/x.git#ref": "https://xxxxx@h/x.git#ref",
		"https://token@h/x.git":            "https://xxxxx@h/x.git",
		"https://h/x.git":                  "https://h/x.git",
		"ssh://git@h/x.git":                "ssh://git@h/x.git",
		"git@h:x.git":                      "git@h:x.git",
		"/folder":                          "/folder",
	} {
		if got := redact(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
	hide := redactor(Request{Context: "/x", AdditionalContexts: map[string]string{"a": "https://u:p%40ss@h/x"}})
	if got := hide.Replace("fetch https://u:p%40ss@h/x with p@ss and p%40ss"); strings.Contains(got, "p@ss") || strings.Contains(got, "p%40ss") {
		t.Errorf("not hidden: %s", got)
	}
}
