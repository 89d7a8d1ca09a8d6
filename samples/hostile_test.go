package samples

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/image/imagetest"
)

// loadImage loads busybox with a configuration of the test's.
func (s *site) loadImage(name string, change func(*imagetest.Image)) {
	s.t.Helper()
	image, err := imagetest.Busybox(name + ":latest")
	if err != nil {
		s.t.Fatal(err)
	}
	change(&image)
	var archive bytes.Buffer
	if err := imagetest.DockerArchive(&archive, image); err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.t.TempDir(), "image.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.must("image", "load", "--input", path)
}

// What an image says about itself is a stranger's word: a VOLUME does not read the host (CVE-2022-23648), a WORKDIR does
// not lead out (CVE-2024-21626) and is not made on the host (CVE-2025-9566), a USER does not wrap to root
// (CVE-2024-40635), and labels are nobody's orders (CVE-2026-53488).
func TestHostileImageConfiguration(t *testing.T) {
	t.Parallel()
	s := newSite(t, newMachine(t))
	canary := t.TempDir()
	if err := os.WriteFile(filepath.Join(canary, "secret"), []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.loadImage("volume", func(i *imagetest.Image) { i.Config.Volumes = map[string]struct{}{"/../../../.." + canary: {}} })
	s.loadImage("workdir-link", func(i *imagetest.Image) {
		i.Config.WorkingDir = "/way/made"
		i.Layers[0] = append(i.Layers[0], imagetest.File{Path: "way", Link: "../../../../.." + canary})
	})
	s.loadImage("labels", func(i *imagetest.Image) {
		i.Config.Labels = map[string]string{
			"com.docker.compose.project": "victim", "com.docker.compose.service": "web", "com.docker.compose.oneoff": "True",
			"com.docker.compose.depends_on": "nobody:service_healthy:true", "com.docker.compose.config-hash": "0",
		}
	})
	refused := map[string]string{}
	for fd := 3; fd <= 12; fd++ {
		name := fmt.Sprint("workdir-", fd)
		s.loadImage(name, func(i *imagetest.Image) { i.Config.WorkingDir = fmt.Sprint("/proc/self/fd/", fd) })
		refused[name] = "working directory"
	}
	for n, user := range []string{"2147483648", "4294967295", "4294967296", "-1", "0:4294967296"} {
		name := fmt.Sprint("user-", n)
		s.loadImage(name, func(i *imagetest.Image) { i.Config.User = user })
		refused[name] = "unable to find"
	}
	var file strings.Builder
	file.WriteString("services:\n  volume: {image: 'volume:latest', command: 'sh -c \"find / -xdev -name secret; ls -A " + canary + "\"'}\n" +
		"  workdir: {image: 'workdir-link:latest', command: pwd}\n  labels: {image: 'labels:latest', command: sleep 1000, init: true}\n")
	for name := range refused {
		fmt.Fprintf(&file, "  %s: {image: '%s:latest', command: ls ../../../.., profiles: [refused]}\n", name, name)
	}
	s.write("compose.yaml", file.String())
	s.must("up", "-d")
	if out := s.must("logs", "--follow", "--no-log-prefix", "volume"); strings.Contains(out, "secret") {
		t.Errorf("a VOLUME reads the host: %s", out)
	}
	if out := s.must("logs", "--follow", "--no-log-prefix", "workdir"); !strings.HasPrefix(out, canary+"/made\n") {
		t.Errorf("the working directory is %s", out)
	}
	if left, err := os.ReadDir(canary); err != nil || len(left) != 1 {
		t.Errorf("a WORKDIR is made on the host: %v, %v", left, err)
	}
	for name, why := range refused {
		if r := s.run("up", "-d", name); r.code == 0 || !strings.Contains(r.stderr, why) {
			t.Errorf("%s is not refused because of its %s: %s", name, why, r)
		}
	}
	s.must("-p", "victim", "down", "-t", "0")
	if ls := s.must("ls", "--quiet"); strings.TrimSpace(ls) != "project" {
		t.Errorf("projects: %s", ls)
	}
	if state := s.must("ps", "--format", "{{.Service}} {{.State}}", "labels"); state != "labels running\n" {
		t.Errorf("the container with foreign labels: %q", state)
	}
}

// Nobody but root may look into the state and the run folder, whatever folder the state is put in (CVE-2021-41091), use
// the sockets, or read the environment of engine and keeper. Secrets lie in the run folder and are read-only in the container.
func TestStateIsPrivate(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	if err := os.Chmod(filepath.Dir(s.root), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.root, 0o755); err != nil { // as a folder that was there before may be
		t.Fatal(err)
	}
	s.write("token", "secret\n")
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: sh -c 'echo logged; exec sleep 1000'
    init: true
    secrets: [{source: token, mode: 0400, uid: "0"}]
secrets: {token: {file: ./token}}
`)
	s.must("up", "-d")
	run := "/run/tutti-" + s.instance()
	out := s.must("exec", "-T", "web", "sh", "-c", `stat -c '%a %u' /run/secrets/token; grep ' /run/secrets/token ' /proc/mounts | cut -d ' ' -f 4 | cut -d , -f 1; (echo x > /run/secrets/token) 2>&1 || true`)
	if !strings.HasPrefix(out, "400 0\nro\n") || !strings.Contains(out, "Read-only file system") {
		t.Errorf("the secret: %s", out)
	}
	var reached []string
	for _, top := range []string{s.root, run} {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || strings.HasPrefix(path, filepath.Join(s.root, "skeleton")) { // empty files and folders
				return nil
			}
			if strings.Count(strings.TrimPrefix(path, top), "/") <= 3 && asUser(path) {
				reached = append(reached, path)
			}
			return nil
		})
	}
	if len(reached) != 1 || reached[0] != s.root { // the folder that was there before
		t.Errorf("another user reaches %v", reached)
	}
	for _, p := range s.processes() {
		if asUser(fmt.Sprintf("/proc/%d/environ", p.pid)) {
			t.Errorf("another user reads the environment of %s", p.cmdline)
		}
	}
}

// asUser tells whether user 1000 can open a path for reading, or connect to it.
func asUser(path string) bool {
	cmd := exec.Command("sh", "-c", `[ -S "$0" ] && [ -w "$0" ] || { [ ! -S "$0" ] && head -c 0 "$0"; } || { [ -d "$0" ] && ls "$0"; }`, path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	return cmd.Run() == nil
}

// A container on the host's network finds no abstract socket of the engine or the keeper (CVE-2020-15257): there is none.
func TestNoAbstractSockets(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", "services:\n  web: {image: 'busybox:latest', command: sleep 1000, init: true, network_mode: host}\n")
	s.must("up", "-d")
	out := s.must("exec", "-T", "web", "cat", "/proc/net/unix")
	named := 0
	for line := range strings.Lines(out) {
		w := strings.Fields(line)
		if len(w) < 8 || w[0] == "Num" {
			continue
		}
		named++
		if !strings.HasPrefix(w[7], "/") {
			t.Errorf("an abstract socket: %s", line)
		}
		if r := s.run("exec", "-T", "web", "test", "-e", w[7]); r.code == 0 {
			t.Errorf("%s is in the container", w[7])
		}
	}
	if named == 0 {
		t.Error("the engine's own socket is not in the list: the test looks at the wrong network namespace")
	}
}

// Neither the engine's binary nor the init can be overwritten through /proc/*/exe (CVE-2019-5736), by the entrypoint, by
// what is entered, and not even with the right to trace.
func TestBinaryCannotBeOverwritten(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	before := sha256.Sum256(read(t, binary(t)))
	s.write("compose.yaml", `
services:
  self: {image: 'busybox:latest', entrypoint: [/proc/self/exe]}
  hunter:
    image: busybox:latest
    cap_add: [SYS_PTRACE]
    init: true
    command:
      - sh
      - -c
      - |
        chmod 0 /proc/1/exe && echo it can be made useless >> /seen
        while :; do for p in /proc/[0-9]*/exe; do
          case $$(readlink $$p) in *tutti*) (echo X > $$p && echo overwritten >> /seen) 2>/dev/null;; esac
          (exec 9< $$p && echo X > /proc/self/fd/9 && echo by descriptor >> /seen) 2>/dev/null
        done; done
`)
	s.must("up", "-d", "hunter")
	if r := s.run("up", "-d", "self"); !strings.Contains(r.String(), "self") {
		t.Error(r)
	}
	for range 10 {
		if r := s.run("exec", "-T", "hunter", "/proc/self/exe"); r.code == 0 {
			t.Errorf("the init ran as a program: %s", r)
		}
		s.must("exec", "-T", "hunter", "true")
	}
	if r := s.run("exec", "-T", "hunter", "cat", "/seen"); r.code == 0 {
		t.Errorf("the hunter had success: %s", r)
	}
	if after := sha256.Sum256(read(t, binary(t))); after != before {
		t.Error("the binary was changed")
	}
	sealed := 0
	for _, p := range s.processes() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/exe", p.pid))
		if err != nil {
			continue // ended
		}
		if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err == nil {
			sealed++
			if seals&unix.F_SEAL_WRITE == 0 || seals&unix.F_SEAL_SEAL == 0 {
				t.Errorf("%s runs from a memory file that can be written", p.cmdline)
			}
		}
		_ = f.Close()
	}
	if sealed < 2 { // the keeper, and pid 1 of the hunter
		t.Errorf("%d processes run from memory files", sealed)
	}
}

// Requests that are too short, too long, malformed or never finished are refused, and names in them are no paths
// (CVE-2024-41110, CVE-2026-34040: what was checked must be what is used).
func TestEngineRefusesBadRequests(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", "services:\n  web: {image: 'busybox:latest', command: sleep 1000, init: true}\n")
	s.must("up", "-d")
	socket := "/run/tutti-" + s.instance() + "/tutti.sock"
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	ask := func(method, path string, body io.Reader) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://tutti"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error() // the connection was closed in the middle of a body
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		return resp.StatusCode, string(answer)
	}
	endless := func() io.Reader {
		return io.MultiReader(strings.NewReader(`{"name":"`), io.LimitReader(letters{}, 65<<20))
	}
	for path, big := range map[string]io.Reader{"/tutti/v1/up": endless(), "/volumes/create": endless(), "/tutti/v1/down": nil, "/containers/x/exec": nil} {
		for name, body := range map[string]io.Reader{"empty": nil, "zero": strings.NewReader(""), "garbage": strings.NewReader("{"), "oversized": big} {
			if code, text := ask("POST", path, body); code/100 != 4 && code != 0 {
				t.Errorf("%s body to %s: %d %s", name, path, code, text)
			}
		}
	}
	victim := filepath.Join(s.root, "volumes", "..", "victim.json")
	if err := os.WriteFile(victim, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ method, path, body string }{
		{"DELETE", "/volumes/..%2fvictim.json", ""},
		{"DELETE", "/volumes/%2e%2e", ""},
		{"DELETE", "/volumes/../victim.json", ""},
		{"DELETE", "/networks/..%2f..%2fvictim.json", ""},
		{"DELETE", "/images/..%2f..%2fvictim.json", ""},
		{"GET", "/volumes/..%2f..%2f..%2fetc", ""},
		{"POST", "/tutti/v1/down", `{"project":"../victim","name":"../victim"}`},
		{"POST", "/volumes/create", `{"Name":"../evil"}`},
		{"POST", "/containers/..%2f..%2fx/exec", `{"Cmd":["true"]}`},
	} {
		code, text := ask(q.method, q.path, strings.NewReader(q.body))
		if code == 200 && !strings.Contains(text, `"error"`) || code == 201 || code == 204 {
			t.Errorf("%s %s: %d %s", q.method, q.path, code, text)
		}
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error(err)
	}
	if err := slowRequest(socket); err != nil {
		t.Error(err)
	}
	if out := s.must("ps", "--format", "{{.State}}"); out != "running\n" {
		t.Errorf("afterwards: %s", out)
	}
}

// letters never end.
type letters struct{}

func (letters) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

// slowRequest begins a request and waits until the engine gives up on it.
func slowRequest(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost:"); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := bufio.NewReader(conn).ReadString(0); !errors.Is(err, io.EOF) {
		return fmt.Errorf("a request that never ends is not ended: %w", err)
	}
	return nil
}

// A project's name is part of a path: one that is a path is refused before anything is written.
func TestProjectNamesAreNoPaths(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", "services:\n  web: {image: 'busybox:latest', command: sleep 1000, init: true}\n") // the engine stays
	s.must("up", "-d")
	model := bytes.ReplaceAll(read(t, filepath.Join(s.root, "projects", "project.json")), []byte(`"Name":"project"`), []byte(`"Name":"../evil"`))
	body, err := json.Marshal(map[string]any{"project": json.RawMessage(model)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", "/run/tutti-"+s.instance()+"/tutti.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /tutti/v1/up HTTP/1.0\r\nHost: tutti\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "evil") {
		t.Errorf("the answer does not name the project: %s, %v", answer, err)
	}
	if _, err := os.Stat(filepath.Join(s.root, "evil.json")); err == nil {
		t.Error("a project's name led out of the folder of projects")
	}
}
