package samples

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutti/runtime/image/imagetest"
)

// openRegistry starts a registry that wants no login, and returns its address.
func (s *site) openRegistry() string {
	s.t.Helper()
	const address = "127.0.0.1:5556"
	dir := filepath.Join(s.dir, "open-registry")
	s.write("open-registry/config.yml", "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "+dir+"/data}}\nhttp: {addr: '"+address+"'}\n")
	s.daemon("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	eventually(s.t, commandTimeout, func() error {
		_, err := s.host.get(s.host.pid, address)
		return err
	})
	return address
}

// ask sends a request of docker's API to the engine's socket.
func (s *site) ask(method, path string, header http.Header) (int, string) {
	s.t.Helper()
	s.must("ls") // starts the engine if it is gone
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/run/tutti-"+s.instance()+"/tutti.sock")
	}}}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://docker"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// helperScript is a credential helper as docker's own are (https://github.com/docker/docker-credential-helpers), which
// keeps one server's credentials in a file.
const helperScript = `#!/bin/sh
kept=$(dirname "$0")/kept
case $1 in
store) cat > "$kept" ;;
get) cat > /dev/null; [ -e "$kept" ] && cat "$kept" || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) cat > /dev/null; rm -f "$kept" ;;
list) echo {} ;;
esac
`

// A program keeps the credentials: they are in no file of docker's, the engine finds them there, and clients of docker's
// API bring their own. All tags of a repository go and come at once.
func TestCredentialHelper(t *testing.T) {
	t.Parallel()
	s := newSite(t, newMachine(t))
	bin := filepath.Join(s.dir, "bin")
	s.write("bin/docker-credential-tuttitest", helperScript)
	if err := os.Chmod(filepath.Join(bin, "docker-credential-tuttitest"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.dir, "docker-config")
	s.environ = append(s.environ, "DOCKER_CONFIG="+config, "PATH="+bin+":"+os.Getenv("PATH"))
	s.load("busybox")
	address := s.registry("ann", "open sesame")
	s.write("docker-config/config.json", `{"credHelpers": {"`+address+`": "tuttitest"}}`)
	if r := s.withInput("open sesame\n", "login", "--username", "ann", "--password-stdin", address); r.code != 0 || strings.Contains(r.stderr, "unencrypted") {
		t.Fatalf("login: %s", r)
	}
	if kept, err := os.ReadFile(filepath.Join(bin, "kept")); err != nil || !strings.Contains(string(kept), `"Secret":"open sesame"`) {
		t.Errorf("the helper keeps %s, %v", kept, err)
	}
	name := address + "/team/app"
	for _, tag := range []string{":one", ":two"} {
		s.must("image", "tag", "busybox:latest", name+tag)
	}
	if out := s.must("image", "push", "--all-tags", name); !strings.Contains(out, "one: digest: sha256:") || !strings.Contains(out, "two: digest: sha256:") {
		t.Errorf("push of all tags: %s", out)
	}
	s.must("image", "rm", name+":one", name+":two")
	if out := s.must("image", "pull", "-a", name); strings.Count(out, "Downloaded newer image for "+name) != 2 {
		t.Errorf("pull of all tags: %s", out)
	}
	if out := s.must("image", "pull", name+":one"); !strings.Contains(out, "Status: Image is up to date for "+name+":one") || !strings.Contains(out, "Digest: sha256:") {
		t.Errorf("pull again: %s", out)
	}
	s.must("logout", address)
	if r := s.run("image", "pull", name+":one"); r.code == 0 || !strings.Contains(r.stderr, "tutti login "+address) {
		t.Errorf("pull after the logout: %s", r)
	}
	text, err := os.ReadFile(filepath.Join(config, "config.json"))
	log, logErr := os.ReadFile(filepath.Join(s.root, "engine.log"))
	if err != nil || logErr != nil || strings.Contains(string(text)+string(log), "sesame") {
		t.Errorf("the password is in a file: %s\n%s, %v, %v", text, log, err, logErr)
	}

	own, err := json.Marshal(map[string]string{"username": "ann", "password": "open sesame", "serveraddress": address})
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"X-Registry-Auth": {base64.URLEncoding.EncodeToString(own)}}
	if code, text := s.ask(http.MethodGet, "/v1.44/distribution/"+name+":one/json", header); code != http.StatusOK || !strings.Contains(text, `"Platforms":[{"architecture":`) || !strings.Contains(text, `"digest":"sha256:`) {
		t.Errorf("distribution: %d %s", code, text)
	}
	if code, text := s.ask(http.MethodGet, "/v1.44/distribution/"+name+":one/json", nil); code == http.StatusOK {
		t.Errorf("distribution without credentials: %d %s", code, text)
	}
	if _, text := s.ask(http.MethodPost, "/v1.44/images/create?fromImage="+name+"&tag=one", header); !strings.Contains(text, "Pulling from team/app") || !strings.Contains(text, "Status: Image is up to date") {
		t.Errorf("create: %s", text)
	}
	if code, text := s.ask(http.MethodPost, "/v1.44/images/"+name+"/push?tag=one", http.Header{"X-Registry-Auth": {"garbage sesame"}}); code != http.StatusBadRequest || strings.Contains(text, "sesame") {
		t.Errorf("push with garbage for credentials: %d %s", code, text)
	}
}

// Pull policies by what containers run then, and images for other platforms.
func TestPullPolicies(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	name := s.openRegistry() + "/app:v1"
	// publish gives the name in the registry another image, and leaves the store without it.
	publish := func(version string) {
		t.Helper()
		s.loadImage("made", func(i *imagetest.Image) {
			i.Layers = append(i.Layers, []imagetest.File{{Path: "version", Body: version}})
			i.Config.Cmd = []string{"cat", "/version"}
		})
		old, err := os.ReadFile(filepath.Join(s.dir, "id"))
		s.must("image", "tag", "made:latest", name)
		s.must("image", "push", "-q", name)
		s.must("image", "rm", "made:latest")
		if err == nil { // the store has what it had
			s.must("image", "tag", strings.TrimSpace(string(old)), name)
		}
	}
	remember := func() { s.write("id", s.must("image", "ls", "-q", "--no-trunc", name)) }
	up := func(policy string) string {
		s.write("compose.yaml", "services:\n  app:\n    image: "+name+"\n    pull_policy: "+policy+"\n")
		r := s.run("up", "--force-recreate", "--no-log-prefix", "--abort-on-container-exit")
		return strings.TrimSpace(r.stdout) + r.stderr
	}
	publish("first")
	s.must("image", "rm", "-f", name)
	if out := up("never"); !strings.Contains(out, "its pull policy is never") {
		t.Errorf("never: %s", out)
	}
	for _, step := range []struct{ policy, publish, want string }{
		{"missing", "", "first"},
		{"if_not_present", "second", "first"},
		{"daily", "", "first"}, // it was pulled just now
		{"every_1h", "", "first"},
		{"never", "", "first"},
		{"every_0s", "", "second"},
		{"always", "third", "third"},
	} {
		if step.publish != "" {
			remember()
			publish(step.publish)
		}
		if out := up(step.policy); !strings.Contains(out, step.want) {
			t.Errorf("%s: %s, want %s", step.policy, out, step.want)
		}
	}
	s.must("down", "-t", "0")
	s.checkForeign(strings.TrimSuffix(name, "app:v1") + "foreign:latest")
}

// checkForeign publishes an image for a platform that is not this host's.
func (s *site) checkForeign(name string) {
	t := s.t
	t.Helper()
	s.loadImage(strings.TrimSuffix(name, ":latest"), func(i *imagetest.Image) {
		i.Arch = "s390x"
		i.Layers = append(i.Layers, []imagetest.File{{Path: "bin/foreign", Body: "\x7fELF of another machine", Mode: 0o755}})
		i.Config.Cmd = []string{"/bin/foreign"}
	})
	if out := s.must("image", "push", "--platform", "linux/s390x", name); !strings.Contains(out, "digest: sha256:") {
		t.Errorf("push: %s", out)
	}
	if r := s.run("image", "push", "--platform", "linux/riscv64", name); r.code == 0 || !strings.Contains(r.stderr, "no matching manifest for linux/riscv64") {
		t.Errorf("push for a platform that is not there: %s", r)
	}
	s.must("image", "rm", name)
	s.must("image", "pull", "-q", "--platform", "linux/s390x", name)
	s.write("compose.yaml", "services:\n  app:\n    image: "+name+"\n")
	r := s.run("up")
	if r.code == 0 || !strings.Contains(r.stderr, "no specific platform was requested") || !strings.Contains(r.stderr, "the image is for linux/s390x, this host is linux/") {
		t.Errorf("a foreign image: %s", r)
	}
	s.write("compose.yaml", "services:\n  app:\n    image: "+name+"\n    platform: linux/riscv64\n")
	if r := s.run("up"); r.code == 0 || !strings.Contains(r.stderr, `service "app"`) || !strings.Contains(r.stderr, "linux/riscv64") {
		t.Errorf("another platform than the registry has: %s", r)
	}
	s.must("down", "-t", "0")
}
