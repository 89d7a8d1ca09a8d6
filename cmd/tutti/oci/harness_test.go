package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/oci"
)

// hung is when a command of the runtime's is taken for that.
const hung = 2 * time.Minute

// place is a root folder of the runtime's, with the built program under the name by
// which others call it.
type place struct {
	t       *testing.T
	dir     string // of bundles and everything else
	root    string // --root
	program string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	built, err := filepath.Abs("../../../bin/tutti")
	if err == nil {
		_, err = os.Stat(built)
	}
	if err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	p := &place{t: t, dir: t.TempDir()}
	p.root, p.program = filepath.Join(p.dir, "state"), filepath.Join(p.dir, Name)
	if err := os.Symlink(built, p.program); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.clean)
	return p
}

// clean deletes all containers; nothing of them may be left.
func (p *place) clean() {
	for id := range strings.FieldsSeq(p.run("list", "-q").stdout) {
		if r := p.run("delete", "--force", id); r.code != 0 {
			p.t.Errorf("cleaning up: %s", r)
		}
	}
	entries, err := os.ReadDir(p.root)
	if err != nil || len(entries) > 0 {
		p.t.Errorf("the root folder holds %v %v", entries, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), p.dir) {
		p.t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
}

// result is what a command printed and ended with.
type result struct {
	args           []string
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return strings.Join(r.args, " ") + ": exit code " + itoa(r.code) + "\n" + r.stdout + r.stderr
}

func itoa(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// command is the program with the place's root. Its standard streams are files: what
// a container inherits must not keep the test waiting.
func (p *place) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	p.t.Cleanup(cancel)
	return exec.CommandContext(ctx, p.program, append([]string{"--root", p.root}, args...)...)
}

func (p *place) run(args ...string) result { return p.finish(p.command(args...)) }

func (p *place) finish(cmd *exec.Cmd) result {
	p.t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(p.dir, "output")
		if err != nil {
			p.t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // read below
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	err := cmd.Run()
	r := result{args: cmd.Args[1:], code: cmd.ProcessState.ExitCode(), stdout: content(p.t, files[0]), stderr: content(p.t, files[1])}
	if r.code < 0 {
		p.t.Fatalf("%s: %v", r, err)
	}
	return r
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// must runs a command that has to succeed, and returns what it printed.
func (p *place) must(args ...string) string {
	p.t.Helper()
	r := p.run(args...)
	if r.code != 0 {
		p.t.Fatal(r)
	}
	return r.stdout
}

// fails runs a command that has to fail with an exit code and words of a message.
func (p *place) fails(code int, words string, args ...string) {
	p.t.Helper()
	if r := p.run(args...); r.code != code || !strings.Contains(r.stderr, words) {
		p.t.Errorf("%s\nwant exit code %d and %q", r, code, words)
	}
}

// bundle makes one with busybox in it; change may be nil.
func (p *place) bundle(change func(*specs.Spec), args ...string) string {
	p.t.Helper()
	dir, err := os.MkdirTemp(p.dir, "bundle")
	if err != nil {
		p.t.Fatal(err)
	}
	s := oci.DefaultSpec()
	s.Process.Terminal, s.Process.Args, s.Root.Readonly = false, args, false
	if change != nil {
		change(s)
	}
	bin := filepath.Join(dir, "rootfs/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		p.t.Fatal(err)
	}
	// Users of a user namespace must get to the root file system.
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	copyFile(p.t, "/bin/busybox", filepath.Join(bin, "busybox"))
	for name := range strings.FieldsSeq("sh cat echo id ls sleep true false uname env pwd mount stat head touch ps kill") {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.config(dir, s)
	return dir
}

func (p *place) config(bundle string, s *specs.Spec) {
	p.t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(bundle, "config.json"), b, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // opened for reading
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// started creates and starts a container.
func (p *place) started(id string, change func(*specs.Spec), args ...string) {
	p.t.Helper()
	p.must("create", "--bundle", p.bundle(change, args...), id)
	p.must("start", id)
}

// output is what a program prints that runs as a container of its own.
func (p *place) output(change func(*specs.Spec), args ...string) string {
	p.t.Helper()
	return p.must("run", "--bundle", p.bundle(change, args...), "c"+itoa(int(time.Now().UnixNano())))
}

func (p *place) state(id string) oci.State {
	p.t.Helper()
	var s oci.State
	p.decode(p.must("state", id), &s)
	return s
}

func (p *place) decode(text string, v any) {
	p.t.Helper()
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(v); err != nil {
		p.t.Fatalf("%v: %s", err, text)
	}
}

// await waits until the container has a status.
func (p *place) await(id string, status specs.ContainerState) {
	p.t.Helper()
	for end := time.Now().Add(hung); ; time.Sleep(5 * time.Millisecond) {
		now := p.state(id).Status
		if now == status {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s is %s, not %s", id, now, status)
		}
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(hung); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}
