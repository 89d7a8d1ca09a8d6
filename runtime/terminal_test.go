package runtime

import (
	"bufio"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// terminal reads lines from a console until one has the text wanted.
type terminal struct {
	t *testing.T
	f *os.File
	r *bufio.Reader
}

func newTerminal(t *testing.T, f *os.File) *terminal {
	t.Helper()
	if f == nil {
		t.Fatal("there is no console")
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &terminal{t, f, bufio.NewReader(f)}
}

func (x *terminal) expect(want string) {
	x.t.Helper()
	for {
		line, err := x.r.ReadString('\n')
		if strings.Contains(line, want) {
			return
		}
		if err != nil {
			x.t.Fatalf("waiting for %q: %v", want, err)
		}
	}
}

func (x *terminal) say(line string) {
	x.t.Helper()
	if _, err := io.WriteString(x.f, line); err != nil {
		x.t.Fatal(err)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	for _, init := range []bool{false, true} {
		s := testSpec(rootfs(t), "sh", "-c", `readlink /proc/self/fd/0; stty size; stat -c '%t:%T %u' /dev/console; read line; echo "got $line"; stty size; exec cat`)
		s.Process.Terminal, s.Process.ConsoleSize = true, &specs.Box{Width: 101, Height: 33}
		s.Process.User.Username = "app"
		c := start(t, r, s, CreateOptions{Init: init})
		x := newTerminal(t, c.Console)
		x.expect("/dev/pts/0")
		x.expect("33 101")
		x.expect("88:0 1000")
		if err := c.Resize(120, 40); err != nil {
			t.Fatal(err)
		}
		x.say("hello\n")
		x.expect("got hello")
		x.expect("40 120")
		if !init { // pid 1 ignores signals that it does not handle
			continue
		}
		x.say("\x03") // Ctrl-C ends cat: the terminal is the controlling one
		if status, err := c.Wait(testContext(t)); err != nil || status.Code != 130 {
			t.Fatalf("%+v, %v", status, err)
		}
	}
}

func TestExecTerminal(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	p := process("sh", "-c", `stty size; trap 'echo winch' WINCH; read line; echo "got $line"; exec cat`)
	p.Terminal, p.ConsoleSize = true, &specs.Box{Width: 80, Height: 24}
	proc, err := c.Exec(testContext(t), "tty", p, Stdio{})
	if err != nil {
		t.Fatal(err)
	}
	x := newTerminal(t, proc.Console)
	x.expect("24 80")
	x.say("hello\n")
	x.expect("got hello")
	x.say("\x03")
	if s, err := proc.Wait(testContext(t)); err != nil || s.Signal != int(syscall.SIGINT) || s.Code != 130 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// A terminal without a devpts of the container's own is refused: nothing of the
// host's may be opened in its place (CVE-2025-52565).
func TestTerminalNeedsDevpts(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "true")
	s.Process.Terminal = true
	for i := range s.Mounts {
		if s.Mounts[i].Type == "devpts" {
			s.Mounts[i] = specs.Mount{Destination: "/dev/pts", Type: "tmpfs", Source: "tmpfs"}
		}
	}
	s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/pts/ptmx", Type: "c", Major: 5, Minor: 2}}
	if _, err := newRuntime(t).Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil || !strings.Contains(err.Error(), "/dev/pts") {
		t.Fatal(err)
	}
}
