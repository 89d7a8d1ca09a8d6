package samples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// withInput runs a command that reads a text.
func (s *site) withInput(input string, args ...string) result {
	s.t.Helper()
	command := s.host.command(s.dir, append([]string{binary(s.t), "--root", s.root}, args...))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(append(os.Environ(), "COMPOSE_ANSI=never"), s.environ...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return result{command: strings.Join(args, " "), stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// registry starts a registry on the site's machine that wants user and password, and returns its address.
func (s *site) registry(user, password string) string {
	s.t.Helper()
	const address = "127.0.0.1:5555"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("registry/htpasswd", user+":"+string(hash)+"\n")
	dir := filepath.Join(s.dir, "registry")
	s.write("registry/config.yml", "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "+dir+"/data}}\nhttp: {addr: '"+address+
		"'}\nauth: {htpasswd: {realm: test, path: "+dir+"/htpasswd}}\n")
	s.daemon("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	eventually(s.t, commandTimeout, func() error {
		_, err := s.host.get(s.host.pid, address)
		return err
	})
	return address
}

// A built image must go to a registry with the user's login and come back from it, and nobody may push without one.
func TestRegistry(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	config := filepath.Join(s.dir, "docker-config")
	s.environ = append(s.environ, "DOCKER_CONFIG="+config)
	address := s.registry("ann", "open sesame")
	name := address + "/team/app:v1"
	s.write("Dockerfile", "FROM busybox:latest\nLABEL stage=test\nRUN echo from the registry > /text\nCMD [\"cat\", \"/text\"]\n")
	s.write("compose.yaml", `
services:
  app:
    image: `+name+`
    build: {context: ., tags: ["`+address+`/team/app:second"]}
  plain:
    image: busybox:latest
`)
	s.must("build")
	if r := s.run("push"); r.code == 0 || !strings.Contains(r.stderr, name) {
		t.Errorf("push without a login: %s", r)
	}
	if r := s.withInput("wrong\n", "login", "--username", "ann", "--password-stdin", address); r.code != 1 || !strings.Contains(r.stderr, "incorrect username or password") {
		t.Errorf("login with a wrong password: %s", r)
	}
	if r := s.withInput("open sesame\n", "login", "--username", "ann", "--password-stdin", address); r.code != 0 || !strings.Contains(r.stdout, "Login Succeeded") {
		t.Fatalf("login: %s", r)
	}
	if r := s.run("login", address); r.code != 0 || !strings.Contains(r.stdout, "existing credentials") {
		t.Errorf("login again: %s", r)
	}
	r := s.run("push")
	if r.code != 0 || !strings.Contains(r.stderr, "Pushed") || !strings.Contains(r.stderr, "Skipped") {
		t.Fatalf("push: %s", r)
	}
	if log, err := os.ReadFile(filepath.Join(s.root, "engine.log")); err != nil || strings.Contains(string(log)+r.stderr, "sesame") {
		t.Errorf("the password is in the engine's log: %s, %v", log, err)
	}
	if out := s.must("image", "push", address+"/team/app:second"); !strings.Contains(out, "second: digest: sha256:") {
		t.Errorf("image push: %s", out)
	}

	archive := filepath.Join(s.dir, "app.tar")
	s.must("image", "save", "-o", archive, name)
	history := s.must("image", "history", "--no-trunc", name)
	if !strings.Contains(history, "CREATED BY") || !strings.Contains(history, "echo from the registry") {
		t.Errorf("history:\n%s", history)
	}
	s.must("image", "rm", name, address+"/team/app:second")
	s.must("pull", "app")
	if out := s.must("up", "app"); !strings.Contains(out, "from the registry") {
		t.Errorf("up shows %q", out)
	}
	if r := s.run("image", "prune", "--all", "--force"); r.code != 0 || strings.Contains(r.stdout, name) {
		t.Errorf("prune takes an image that a container was made from: %s", r)
	}
	s.must("down", "-t", "0")
	if out := s.must("image", "prune", "--all", "--force", "--filter", "label=stage=test"); !strings.Contains(out, "untagged: "+name) || strings.Contains(out, "busybox") {
		t.Errorf("prune: %s", out)
	}
	if out := s.must("image", "load", "-i", archive); !strings.Contains(out, "Loaded image: "+name) {
		t.Errorf("load: %s", out)
	}
	if out := s.must("logout", address); !strings.Contains(out, "Removing login credentials for "+address) {
		t.Errorf("logout: %s", out)
	}
	text, err := os.ReadFile(filepath.Join(config, "config.json"))
	var kept struct{ Auths map[string]any }
	if err != nil || json.Unmarshal(text, &kept) != nil || len(kept.Auths) != 0 {
		t.Errorf("after logout: %s, %v", text, err)
	}
	if r := s.run("push", "--ignore-push-failures", "-q"); r.code != 0 {
		t.Errorf("push with failures ignored: %s", r)
	}
	s.must("down", "--rmi", "all", "-t", "0")
}
