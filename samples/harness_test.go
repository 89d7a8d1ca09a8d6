package samples

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// When a command of tutti's is taken for hung.
const (
	commandTimeout = 2 * time.Minute
	buildTimeout   = 12 * time.Minute // samples/mean from nothing
)

// site is one state root with its engine, and a folder for compose files.
type site struct {
	t       testing.TB
	root    string   // --root
	dir     string   // where commands run
	environ []string // added to the environment of commands
	timeout time.Duration
	host    *machine // where commands run; nil for this machine
	program string   // that is run, "" for bin/tutti
}

// newSite makes a root without images. When the test ends, so does everything in it, and nothing of it may be left.
func newSite(t testing.TB, host *machine) *site {
	t.Helper()
	hearInterrupts()
	base := newBase(t)
	s := &site{t: t, root: filepath.Join(base, "root"), dir: filepath.Join(base, "project"), timeout: commandTimeout, host: host}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.clean()
		if err := errors.Join(os.RemoveAll(base), os.RemoveAll("/run/tutti-"+s.instance())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// instances are those of all sites of this process.
var instances sync.Map

// newBase makes a folder for a site. Its root's instance, which has only four digits, is no other site's.
func newBase(t testing.TB) string {
	t.Helper()
	for {
		base, err := os.MkdirTemp("/var/tmp", "tutti-e2e-") // not t.TempDir: a socket's path has 107 bytes at most
		if err != nil {
			t.Fatal(err)
		}
		instance := (&site{root: filepath.Join(base, "root")}).instance()
		if _, used := instances.LoadOrStore(instance, true); !used {
			if _, err := os.Stat("/run/tutti-" + instance); errors.Is(err, os.ErrNotExist) {
				return base
			}
		}
		if err := os.Remove(base); err != nil {
			t.Fatal(err)
		}
	}
}

// hearInterrupts lets commands hear SIGINT from their first moment, also where the tests were started in the background of a
// shell, with that signal ignored.
var hearInterrupts = sync.OnceFunc(func() {
	if signal.Ignored(syscall.SIGINT) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGINT)
	}
})

// newBusyboxSite makes a root that has busybox:latest, on a machine of its own.
func newBusyboxSite(t testing.TB) *site {
	t.Helper()
	s := newSite(t, newMachine(t))
	s.load("busybox")
	return s
}

// in is the site for a subtest, whose failures are then its own.
func (s *site) in(t testing.TB) *site {
	sub := *s
	sub.t = t
	return &sub
}

// clean removes all projects and ends the engine, which would be gone by itself a little later.
func (s *site) clean() {
	t := s.t
	defer func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.root, "engine.log"))
			t.Logf("engine.log:\n%s", log)
		}
	}()
	for name := range strings.FieldsSeq(s.run("ls", "--all", "--quiet").stdout) {
		if r := s.run("-p", name, "down", "--volumes", "--remove-orphans", "--timeout", "0"); r.code != 0 {
			t.Errorf("cleaning up: %s", r)
		}
	}
	for _, pid := range s.engines() {
		_ = syscall.Kill(pid, syscall.SIGTERM) // gone meanwhile: as well
	}
	deadline := time.Now().Add(commandTimeout)
	for len(s.processes()) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	for _, p := range s.processes() {
		t.Errorf("still running %v after the last container has gone: process %d: %s", commandTimeout, p.pid, p.cmdline)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	for _, left := range s.leftovers() {
		t.Errorf("left behind: %s", left)
	}
	s.races()
}

// races fails the test for what an engine that was built with the race detector has found in code of tutti. BuildKit has some
// of its own.
func (s *site) races() {
	log, err := os.ReadFile(filepath.Join(s.root, "engine.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Error(err)
	}
	for report := range strings.SplitSeq(string(log), "==================") {
		accesses, _, _ := strings.Cut(report, "\nGoroutine ")
		if strings.Contains(accesses, "WARNING: DATA RACE") && strings.Contains(accesses, "\n  tutti/") {
			s.t.Errorf("the engine has a data race: %s", report)
		}
	}
}

// load loads an image archive of the base images: "busybox" or "base-images".
func (s *site) load(archive string) {
	s.t.Helper()
	s.must("image", "load", "--input", filepath.Join(baseImages(s.t), archive+".tar"))
}

var bootstrap = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("TUTTI_BASE_IMAGES"); dir != "" { // where they cannot be made: in a guest
		return dir, nil
	}
	cmd := exec.Command("./base-images/base-images.sh", "bootstrap")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		return "", errors.New(log.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// baseImages is the folder with the archives of the base images, which are made once on a machine.
func baseImages(t testing.TB) string {
	t.Helper()
	dir, err := bootstrap()
	if err != nil {
		t.Fatalf("base images: %v", err)
	}
	return dir
}

// write writes a file into the project's folder.
func (s *site) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// result is how a command ended.
type result struct {
	command        string
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return "$ tutti " + r.command + "\n" + r.stdout + r.stderr
}

// must runs a command that has to succeed and returns what it printed.
func (s *site) must(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	if r.code != 0 {
		s.t.Fatalf("exit code %d: %s", r.code, r)
	}
	return r.stdout
}

// run runs a command to its end.
func (s *site) run(args ...string) result {
	s.t.Helper()
	return s.start(args...).wait()
}

// running is a command that may not have ended yet.
type running struct {
	site           *site
	cmd            *exec.Cmd
	stdout, stderr lockedBuffer
	cancel         context.CancelFunc // kills it
	args           []string
}

// start starts a command, in a process group of its own as a shell does. It may run as long as the test, until it is waited for.
func (s *site) start(args ...string) *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	command := append([]string{s.binary(), "--root", s.root}, args...)
	if s.host != nil {
		command = s.host.command(s.dir, command)
	}
	r := &running{site: s, cmd: exec.CommandContext(ctx, command[0], command[1:]...), cancel: cancel, args: args}
	r.cmd.Dir = s.dir
	r.cmd.Env = append(append(os.Environ(), "COMPOSE_ANSI=never"), s.environ...)
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (r *running) wait() result {
	r.site.t.Helper()
	defer r.cancel()
	hung := time.AfterFunc(r.site.timeout, r.cancel)
	err := r.cmd.Wait()
	inTime := hung.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.site.t.Fatalf("tutti %s: %v", strings.Join(r.args, " "), err)
	}
	code := r.cmd.ProcessState.ExitCode()
	if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal()) // as a shell reports it
		if status.Signal() == syscall.SIGKILL && !inTime {
			r.site.t.Errorf("tutti %s: hung for %v", strings.Join(r.args, " "), r.site.timeout)
		}
	}
	return result{command: strings.Join(r.args, " "), stdout: r.stdout.String(), stderr: r.stderr.String(), code: code}
}

func (r *running) signal(sig syscall.Signal) {
	r.site.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.site.t.Fatal(err)
	}
}

// until waits until the standard output holds a text.
func (r *running) until(text string) {
	r.site.t.Helper()
	eventually(r.site.t, commandTimeout, func() error {
		if !strings.Contains(r.stdout.String(), text) {
			return errors.New("no " + text + " in the output: " + r.stdout.String() + r.stderr.String())
		}
		return nil
	})
}

// eventually polls until a condition holds.
func eventually(t testing.TB, within time.Duration, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// binary is the program that the site's commands run.
func (s *site) binary() string {
	if s.program != "" {
		return s.program
	}
	return binary(s.t)
}

// binary is the path of bin/tutti.
func binary(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("../bin/tutti")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return path
}

// lockedBuffer may be read while a command still writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
