package samples

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const watched = `
name: watched
x-still: &still {network_mode: none, stop_grace_period: 0s, init: true}
services:
  app:
    <<: *still
    image: busybox:latest
    command: sleep 100000
    user: "1000:1001"
    scale: 2
    depends_on: [base]
    develop:
      watch:
        - {action: sync, path: src, target: /tmp/app, ignore: [skipped/], initial_sync: true}
        - {action: sync+exec, path: run, target: /tmp/run, include: ["*.txt"], exec: {command: [sh, -c, "echo $$WORD $$(cat /tmp/run/*) $$(id -u); exit 3"], user: "7", environment: [WORD=executed]}}
  conf:
    <<: *still
    image: busybox:latest
    command: sh -c 'cat /conf/it 2>/dev/null; sleep 100000'
    develop: {watch: [{action: sync+restart, path: conf, target: /conf}]}
  ended:
    <<: *still
    image: busybox:latest
    command: "true"
    develop: {watch: [{action: sync, path: src, target: /kept}]}
  base:
    <<: *still
    build: .
    command: sleep 100000
    develop: {watch: [{action: rebuild, path: image}]}
  after:
    <<: *still
    image: busybox:latest
    command: sleep 100000
    depends_on: {base: {condition: service_started, restart: true}}
`

func newWatchedSite(t *testing.T) *site {
	t.Helper()
	s := newBusyboxSite(t)
	s.timeout = buildTimeout // of the watch itself, which lasts as long as the test
	s.write("compose.yaml", watched)
	s.write("Dockerfile", "FROM busybox:latest\nCOPY image /image\n")
	s.write("image/text", "first")
	s.write("src/there", "at first")
	return s
}

// watches starts a command that lasts until it is interrupted, or the test fails.
func (s *site) watches(args ...string) *running {
	s.t.Helper()
	r := s.start(args...)
	s.t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	})
	return r
}

// holds waits until a command in a container prints a text.
func (s *site) holds(want string, service string, command ...string) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		r := s.run(append([]string{"exec", "-T", service}, command...)...)
		if strings.TrimSpace(r.stdout) != want {
			return fmt.Errorf("%q is not %q: %s", strings.TrimSpace(r.stdout), want, r)
		}
		return nil
	})
}

// id is that of a service's first container.
func (s *site) id(service string) string {
	s.t.Helper()
	first, _, _ := strings.Cut(s.must("ps", "-a", "-q", service), "\n")
	return first
}

// says waits until the output of a command has a text, from a length on, and returns the length behind it.
func (r *running) says(from int, text string) int {
	r.site.t.Helper()
	eventually(r.site.t, commandTimeout, func() error {
		if !strings.Contains(r.stdout.String()[from:], text) {
			return fmt.Errorf("no %q in the output: %s%s", text, r.stdout.String()[from:], r.stderr.String())
		}
		return nil
	})
	return from + strings.Index(r.stdout.String()[from:], text) + len(text)
}

// Containers follow the files that they are made of.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := newWatchedSite(t)
	w := s.watches("watch")
	w.until("Watch enabled\n")
	s.holds("at first", "app", "cat", "/tmp/app/there")
	s.watchFiles(t)
	s.watchActions(t, w)
	s.watchRebuilds(t, w)
	s.watchModel(t, w)

	for _, pid := range s.engines() { // nobody is told
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	s.write("src/after", "the engine was killed")
	s.holds("the engine was killed", "app", "cat", "/tmp/app/after")
	if r := s.run("watch"); r.code != 1 || !strings.Contains(r.stderr, "cannot take exclusive lock for project \"watched\": process with PID ") {
		t.Errorf("a second watch: %s", r)
	}
	w.signal(syscall.SIGINT)
	if r := w.wait(); r.code != 130 {
		t.Errorf("interrupted, it ends with %d: %s", r.code, r)
	}
	s.holds("the engine was killed", "app", "cat", "/tmp/app/after") // the containers go on
	if r := s.run("--dry-run", "watch", "nosuch"); r.code != 1 || r.stderr != "no such service: nosuch\n" {
		t.Errorf("a service that is not there: %s", r)
	}
}

// watchFiles copies and removes files.
func (s *site) watchFiles(t *testing.T) {
	s.write("src/a/b/c/deep", "deep")
	s.holds("deep", "app", "cat", "/tmp/app/a/b/c/deep")
	s.write("src/script", "echo run")
	script := filepath.Join(s.dir, "src/script")
	long := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := errors.Join(os.Chmod(script, 0o751), os.Chtimes(script, long, long)); err != nil {
		t.Fatal(err)
	}
	for _, replica := range []string{"1", "2"} { // whose the files are, is the container's user
		eventually(t, commandTimeout, func() error {
			r := s.run("exec", "-T", "--index", replica, "app", "stat", "-c", "%a %u %g %Y", "/tmp/app/script")
			if want := fmt.Sprintf("751 1000 1001 %d\n", long.Unix()); r.stdout != want {
				return fmt.Errorf("%q is not %q", r.stdout, want)
			}
			return nil
		})
	}
	// What does not run gets files, too; what is ignored or no file is not copied; and a link of the container leads no further
	// than its root.
	for _, replica := range []string{"1", "2"} {
		s.must("exec", "-T", "-u", "0", "--index", replica, "app", "sh", "-c", "mkdir -p $1 && ln -s /../../../../..$1 /tmp/app/out", "sh", s.dir)
	}
	s.write("src/out/canary", "in the container")
	s.holds("in the container", "app", "cat", filepath.Join(s.dir, "canary"))
	if _, err := os.Stat(filepath.Join(s.dir, "canary")); err == nil {
		t.Error("a file was copied out of the container")
	}
	if err := syscall.Mkfifo(filepath.Join(s.dir, "src/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a/b", filepath.Join(s.dir, "src/link")); err != nil {
		t.Fatal(err)
	}
	s.write("src/skipped/x", "ignored")
	s.write("src/a.swp~", "ignored")
	s.write("src/last", "last")
	s.holds("last", "app", "cat", "/tmp/app/last")
	s.holds("a b c deep", "app", "sh", "-c", "cd /tmp/app; echo a $(ls link) $(ls a/b) deep | sed 's/ c c/ c/; s/ c / b c /'")
	s.holds("fifo", "app", "sh", "-c", "cd /tmp/app; test -p fifo && echo fifo; ls -d skipped a.swp~ 2>/dev/null")
	eventually(t, commandTimeout, func() error {
		target := filepath.Join(t.TempDir(), "last")
		if r := s.run("cp", "ended:/kept/last", target); r.code != 0 {
			return errors.New(r.String())
		}
		return nil
	})
	if err := errors.Join(os.RemoveAll(filepath.Join(s.dir, "src/a")), os.Remove(script), os.Remove(filepath.Join(s.dir, "src/link"))); err != nil {
		t.Fatal(err)
	}
	s.write("src/a", "a file now")
	s.holds("a file now", "app", "cat", "/tmp/app/a")
	s.holds("gone", "app", "sh", "-c", "cd /tmp/app; ls script link 2>/dev/null || echo gone")
}

// watchActions runs commands and restarts.
func (s *site) watchActions(t *testing.T, w *running) {
	s.write("run/it.txt", "it")
	s.write("run/it.not", "not")
	at := w.says(0, "executed it 7\n") // by each of the two
	w.says(at, "executed it 7\n")
	eventually(t, commandTimeout, func() error {
		for _, n := range []string{"1", "2"} {
			if !strings.Contains(w.stderr.String(), "the command of sync+exec failed in watched-app-"+n+": exit code 3") {
				return errors.New(w.stderr.String())
			}
		}
		return nil
	})
	before := s.id("conf")
	s.write("conf/it", "configured\n")
	w.says(0, "service(s) [\"conf\"] restarted\n")
	eventually(t, commandTimeout, func() error {
		if logs := s.must("logs", "--no-log-prefix", "conf"); logs != "configured\n" {
			return errors.New(logs)
		}
		return nil
	})
	if s.id("conf") != before {
		t.Error("to restart a container is not to replace it")
	}
}

// watchRebuilds builds images anew.
func (s *site) watchRebuilds(t *testing.T, w *running) {
	base, after := s.id("base"), s.startTime("after")
	s.write("image/text", "second")
	at := w.says(0, "Rebuilding service(s) [\"base\"] after changes were detected...\n")
	at = w.says(at, "service(s) [\"base\"] successfully built\n")
	s.holds("second", "base", "cat", "/image/text")
	eventually(t, commandTimeout, func() error { // which wants to be restarted with it
		if s.startTime("after") == after {
			return errors.New("after has not been restarted")
		}
		return nil
	})
	eventually(t, commandTimeout, func() error {
		if list := strings.Fields(s.must("image", "ls", "--all", "--quiet")); len(list) != 2 {
			return fmt.Errorf("the old image is still there: %v", list)
		}
		return nil
	})
	if s.id("base") == base {
		t.Error("the container has not been replaced")
	}
	base = s.id("base")
	if err := os.Chmod(filepath.Join(s.dir, "image/text"), 0o644); err != nil { // nothing that counts
		t.Fatal(err)
	}
	at = w.says(at, "service(s) [\"base\"] successfully built\n")

	s.write("Dockerfile", "FROM busybox:latest\nCOPY image /image\nRUN echo broken; false\n")
	s.write("image/text", "third")
	at = w.says(at, "Build failed. Error: service \"base\": build failed:\n")
	at = w.says(at, "Dockerfile:3\n")
	at = w.says(at, ">>> RUN echo broken; false\n")
	if s.id("base") != base {
		t.Error("a container whose image has not changed was replaced")
	}
	s.write("Dockerfile", "FROM busybox:latest\nCOPY image /image\n")
	s.write("image/text", "fourth")
	w.says(at, "service(s) [\"base\"] successfully built\n")
	s.holds("fourth", "base", "cat", "/image/text")
}

// startTime is when a service's first container was started.
func (s *site) startTime(service string) string {
	s.t.Helper()
	return s.must("container", "inspect", "--format", "{{.State.StartedAt}}", s.id(service))
}

// watchModel changes the compose file.
func (s *site) watchModel(t *testing.T, w *running) {
	app := s.id("app")
	s.write("compose.yaml", strings.Replace(watched, "/tmp/app, ignore", "/tmp/other, ignore", 1)+"    wrong: 1\n")
	eventually(t, commandTimeout, func() error {
		if !strings.Contains(w.stderr.String(), "compose.yaml:36: service \"after\": ") {
			return errors.New(w.stderr.String())
		}
		return nil
	})
	at := w.says(0, "What was there before stays in force until the files are in order\n")
	s.write("src/meanwhile", "as before")
	s.holds("as before", "app", "cat", "/tmp/app/meanwhile")

	s.write("compose.yaml", strings.Replace(watched, "\"1000:1001\"", "\"2000:2001\"", 1))
	at = w.says(at, "Applying changes of compose.yaml: service app has changed (user)\n")
	s.holds("as before", "app", "cat", "/tmp/app/meanwhile") // what was copied is copied into the new one
	s.holds("2000", "app", "stat", "-c", "%u", "/tmp/app/last")
	if s.id("app") == app {
		t.Error("the container has not been replaced")
	}
	s.write("compose.yaml", strings.Replace(watched, "\"1000:1001\"", "\"2000:2001\"", 1)+"    environment: [\"WORD=${WORD:-none}\"]\n")
	at = w.says(at, "Applying changes of compose.yaml: service after has changed (environment)\n")
	s.write(".env", "WORD=from-env\n")
	w.says(at, "Applying changes of .env: service after has changed (environment)\n")
	s.holds("from-env", "after", "sh", "-c", "echo $WORD")
	s.must("up", "-d", "--no-deps", "--force-recreate", "app") // somebody else's
	s.holds("as before", "app", "cat", "/tmp/app/meanwhile")
}

// `up --watch` outlives the containers that it replaces, and stops them all when it is interrupted.
func TestUpWatch(t *testing.T) {
	t.Parallel()
	s := newWatchedSite(t)
	if r := s.run("up", "--watch", "--no-build"); r.code != 1 || r.stderr != "--no-build and --watch are incompatible\n" {
		t.Error(r)
	}
	u := s.watches("up", "--watch", "base", "after")
	u.until("⦿ Watch enabled\n")
	before := s.id("base")
	s.write("image/text", "second")
	u.until("⦿ service(s) [\"base\"] successfully built\n")
	s.holds("second", "base", "cat", "/image/text")
	if s.id("base") == before {
		t.Error("the container has not been replaced")
	}
	s.write("image/text", "third")
	s.holds("third", "base", "cat", "/image/text")
	u.signal(syscall.SIGINT)
	if r := u.wait(); r.code != 130 || !strings.Contains(r.stdout, "Attaching to after-1, base-1\n") {
		t.Errorf("it ends with %d: %s", r.code, r)
	}
	if left := s.must("ps", "--quiet"); left != "" {
		t.Errorf("these still run: %s", left)
	}
}
