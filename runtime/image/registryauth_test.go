package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"tutti/runtime/image/registry"
)

// tokens is a token server, and the door of a registry that wants its tokens
// (https://distribution.github.io/distribution/spec/auth/token/).
type tokens struct {
	mu      sync.Mutex
	realm   string   // where it is
	seen    []string // what it was asked for: "GET ann repository:..." or "POST refresh_token ..."
	oauth   bool     // knows POST
	refresh string   // the identity token it gives and takes
}

const tokenUser, tokenPassword = "ann", "open sesame"

func (k *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Method == http.MethodPost && !k.oauth {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	user, password, _ := r.BasicAuth()
	scope, grant, offline := r.FormValue("scope"), r.FormValue("grant_type"), r.FormValue("offline_token") == "true"
	if r.Method == http.MethodPost {
		user, password, offline = r.PostFormValue("username"), r.PostFormValue("password"), r.PostFormValue("access_type") == "offline"
		if grant == "refresh_token" && r.PostFormValue("refresh_token") == k.refresh {
			user, password = tokenUser, tokenPassword
		}
	}
	k.seen = append(k.seen, strings.TrimSpace(strings.Join([]string{r.Method, grant, user, scope}, " ")))
	if user != "" && (user != tokenUser || password != tokenPassword) || user == "" && strings.Contains(scope, "push") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer := map[string]any{"token": "<" + scope + ">", "access_token": "<" + scope + ">", "expires_in": 60}
	if offline {
		answer["refresh_token"] = k.refresh
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// door lets through who has a token for the repository.
func (k *tokens) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope := ""
		if strings.HasPrefix(r.URL.Path, "/v2/team/app/") {
			scope = "repository:team/app:pull"
		}
		if r.Header.Get("Authorization") != "Bearer <"+scope+">" {
			challenge := fmt.Sprintf("Bearer realm=%q,service=\"test\"", k.realm)
			if scope != "" {
				challenge += fmt.Sprintf(",scope=%q", scope)
			}
			w.Header().Set("Www-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if scope != "" {
			next.ServeHTTP(w, r)
		}
	})
}

func serveHTTP(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// A registry with a token server: anonymously, with a password by both ways of asking, with an identity token from login.
func TestImageTokenServer(t *testing.T) {
	t.Parallel()
	for _, oauth := range []bool{false, true} {
		t.Run(fmt.Sprintf("oauth=%v", oauth), func(t *testing.T) {
			t.Parallel()
			k := &tokens{oauth: oauth, refresh: "identity of ann"}
			k.realm = serveHTTP(t, k).URL + "/token"
			address := strings.TrimPrefix(serveHTTP(t, k.door(newCraft(t, nil))).URL, "http://")
			s := openStore(t)
			password := func(string) (string, string, error) { return tokenUser, tokenPassword, nil }
			identity, err := s.Login(t.Context(), address, password)
			if err != nil || identity != k.refresh {
				t.Errorf("login: %q, %v", identity, err)
			}
			wrong := func(string) (string, string, error) { return tokenUser, "wrong", nil }
			if _, err := s.Login(t.Context(), address, wrong); err == nil || !strings.Contains(err.Error(), "incorrect username or password") {
				t.Errorf("login with a wrong password: %v", err)
			}
			ways := map[string]Auth{"anonymous": nil, "password": password}
			if oauth {
				ways["identity token"] = func(string) (string, string, error) { return "", identity, nil }
			}
			for what, auth := range ways {
				if _, err := s.Pull(t.Context(), address+"/team/app:v1", PullOptions{Auth: auth}); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err = s.Pull(t.Context(), address+"/team/app:v1", PullOptions{Auth: wrong})
			if err == nil || strings.Contains(err.Error(), "wrong") || !strings.Contains(err.Error(), "tutti login "+address) {
				t.Errorf("pull with a wrong password: %v", err)
			}
			if seen := strings.Join(k.seen, "\n"); !strings.Contains(seen, "repository:team/app:pull") || oauth != strings.Contains(seen, "POST refresh_token") {
				t.Errorf("the token server was asked\n%s", seen)
			}
		})
	}
}

// thief is a server that must not be given what is meant for others.
type thief struct {
	mu     sync.Mutex
	stolen []string
	next   http.Handler
}

func (h *thief) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := r.FormValue("password") + r.FormValue("refresh_token")
	h.mu.Lock()
	if a := r.Header.Get("Authorization") + r.Header.Get("X-Key") + body; a != "" {
		h.stolen = append(h.stolen, a)
	}
	h.mu.Unlock()
	h.next.ServeHTTP(w, r)
}

func (h *thief) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stolen) > 0 {
		t.Errorf("another host was sent %q", h.stolen)
	}
}

// basicDoor wants user and password.
func basicDoor(next http.Handler) http.Handler {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(tokenUser+":"+tokenPassword))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != want {
			w.Header().Set("Www-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A registry that leads elsewhere is followed without what is meant for it alone: another port of the same address is
// elsewhere, too, and it may ask as politely as it likes.
func TestImageRedirectsDropCredentials(t *testing.T) {
	t.Parallel()
	password := func(string) (string, string, error) { return tokenUser, tokenPassword, nil }
	for _, asks := range []bool{false, true} {
		t.Run(fmt.Sprintf("asks=%v", asks), func(t *testing.T) {
			t.Parallel()
			c := newCraft(t, nil)
			storage := &thief{next: c}
			if asks {
				storage.next = basicDoor(c)
			}
			elsewhere := serveHTTP(t, storage).URL
			address := strings.TrimPrefix(serveHTTP(t, basicDoor(bend(c, func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
					return true
				}
				return false
			}))).URL, "http://")
			_, err := openStore(t).Pull(t.Context(), address+"/team/app:v1", PullOptions{Auth: password})
			if asks == (err == nil) {
				t.Errorf("pull: %v", err)
			}
			storage.check(t)
		})
	}
}

// What a token server gets stays with it, and goes there over HTTPS only.
func TestImageTokenServerLeadsElsewhere(t *testing.T) {
	t.Parallel()
	other := &thief{next: http.NotFoundHandler()}
	elsewhere := serveHTTP(t, other).URL
	redirecting := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+"/token", http.StatusTemporaryRedirect)
	})).URL
	password := func(string) (string, string, error) { return tokenUser, tokenPassword, nil }
	for realm, want := range map[string]string{redirecting + "/token": "where credentials are not sent", "http://tokens.invalid/token": "plain HTTP on tokens.invalid"} {
		k := &tokens{realm: realm}
		address := strings.TrimPrefix(serveHTTP(t, k.door(newCraft(t, nil))).URL, "http://")
		s := openStore(t)
		_, err := s.Pull(t.Context(), address+"/team/app:v1", PullOptions{Auth: password})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), tokenPassword) {
			t.Errorf("realm %s: pull: %v", realm, err)
		}
		if _, err := s.Login(t.Context(), address, password); err == nil || strings.Contains(err.Error(), tokenPassword) {
			t.Errorf("realm %s: login: %v", realm, err)
		}
	}
	other.check(t)
}

// Tags come in pages; their links stay with the registry, and end.
func TestImageTags(t *testing.T) {
	t.Parallel()
	other := &thief{next: http.NotFoundHandler()}
	elsewhere := serveHTTP(t, other).URL
	pages := map[string][2]string{ // repository and last tag → tags, link
		"/v2/team/app/tags/list?":       {`["a","b"]`, "/v2/team/app/tags/list?last=b"},
		"/v2/team/app/tags/list?last=b": {`["c"]`, ""},
		"/v2/team/away/tags/list?":      {`["a"]`, elsewhere + "/v2/team/away/tags/list?last=a"},
		"/v2/team/ever/tags/list?":      {`["a"]`, "/v2/team/ever/tags/list?"},
		"/v2/team/garbage/tags/list?":   {`{`, ""},
		"/v2/team/nothing/tags/list?":   {`null`, "/v2/team/nothing/tags/list?"},
	}
	address := strings.TrimPrefix(serveHTTP(t, basicDoor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path+"?"+r.URL.RawQuery]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if page[1] != "" {
			w.Header().Set("Link", "<"+page[1]+`>; rel="next"`)
		}
		_, _ = w.Write([]byte(`{"name":"x","tags":` + page[0] + "}"))
	}))).URL, "http://")
	s := openStore(t)
	configure(t, s, registry.Options{Dirs: []string{t.TempDir()}})
	password := func(string) (string, string, error) { return tokenUser, tokenPassword, nil }
	for repository, want := range map[string]string{
		"team/app": "[a b c]", "team/nothing": "[]", "team/away": "leads to", "team/ever": "more than 1000 pages", "team/garbage": "read the answer", "team/none": "404",
	} {
		tags, err := s.Tags(t.Context(), address+"/"+repository, password)
		if got := fmt.Sprint(tags); err == nil && got != want || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address)) {
			t.Errorf("%s: %s, %v; want %s", repository, got, err, want)
		}
	}
	other.check(t)
}
