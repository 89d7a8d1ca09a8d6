package samples

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install puts a copy of bin/tutti at path, as an installation does: a new file takes the name of the old one.
func (s *site) install(path string) {
	s.t.Helper()
	content, err := os.ReadFile(binary(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", content, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// engineFile is the file that the engine runs.
func (s *site) engineFile() string {
	s.t.Helper()
	for _, m := range s.managers() {
		if m.role == "engine" {
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", m.pid))
			if err != nil {
				s.t.Fatal(err)
			}
			return exe
		}
	}
	s.t.Fatal("no engine")
	return ""
}

// A program that is installed over the old one, or elsewhere, becomes the engine with the next command. Containers do not
// notice, and their logs are complete. An engine that somebody uses is left in peace.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	dir := filepath.Dir(s.dir)
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	s.install(first)
	s.install(second)
	s.write("compose.yaml", `
name: upgrade
services:
  writer:
    image: busybox:latest
    command: sh -c 'i=0; while [ $$i -lt 3000 ]; do i=$$((i+1)); echo line $$i; [ $$((i % 20)) -ne 0 ] || usleep 5000; done; exit 7'
  web:
    image: busybox:latest
    command: sh -c 'echo ready; exec sleep 10000'
    stop_grace_period: 0s
`)
	s.program = first
	s.must("up", "-d")
	before := s.identities()["web"]
	if exe := s.engineFile(); exe != first {
		t.Fatalf("the engine is %s", exe)
	}
	s.install(first) // over the running one
	s.must("ps")
	if exe := s.engineFile(); exe != first {
		t.Errorf("after an installation over it the engine is %s", exe)
	}
	s.program = second
	s.must("ps")
	if exe := s.engineFile(); exe != second {
		t.Errorf("after a command of another program the engine is %s", exe)
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	follow := s.start("logs", "-f", "web")
	follow.until("ready\n")
	s.install(first)
	s.program = first
	s.must("ps")
	if exe := s.engineFile(); exe != second {
		t.Errorf("an engine that somebody used was replaced by %s", exe)
	}
	_ = follow.cmd.Process.Kill()
	follow.cancel()
	_ = follow.cmd.Wait()
	if after := s.identities()["web"]; after != before {
		t.Errorf("the container was %s and is %s", before, after)
	}
	checkCounted(s, "writer", 3000, "exited 7")
	s.must("down", "-t", "0")
}

// A state folder that a newer tutti has written is refused, and not touched.
func TestNewerState(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		t.Fatal(err)
	}
	format := filepath.Join(s.root, "format.json")
	if err := os.WriteFile(format, []byte(`{"format":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.run("ls")
	if want := "a newer tutti has written " + s.root + " (format 99"; r.code == 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("exit code %d, want an error with %q: %s", r.code, want, r)
	}
	if err := os.Remove(format); err != nil {
		t.Fatal(err)
	}
	s.must("ls")
}

// checkCounted waits until a service that writes numbered lines has ended as wanted, and compares its log.
func checkCounted(s *site, service string, lines int, end string) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		if state := strings.TrimSpace(s.must("ps", "--all", "--format", "{{.State}} {{.ExitCode}}", service)); state != end {
			return fmt.Errorf("state of %s is %q, want %q", service, state, end)
		}
		return nil
	})
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	if got := s.must("logs", "--no-log-prefix", "--no-color", service); got != want.String() {
		s.t.Errorf("the log of %s differs:\n%s", service, difference(want.String(), got))
	}
}
