package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// process answers for the engine: one exec, that says what it was given.
type process struct {
	mu      sync.Mutex
	create  container.ExecCreateRequest
	resizes []string
	code    int
	// talk is the process: its stdin, and the connection to write to.
	talk func(stdin *bufio.Reader, out io.Writer)
}

func (p *process) serve(c *cli) {
	c.mux.HandleFunc("POST /containers/{id}/exec", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := json.NewDecoder(r.Body).Decode(&p.create); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		writeJSON(w, container.ExecCreateResponse{ID: "e1"})
	})
	c.mux.HandleFunc("POST /exec/e1/start", func(w http.ResponseWriter, r *http.Request) {
		var start container.ExecStartRequest
		if err := json.NewDecoder(r.Body).Decode(&start); err != nil || start.Detach {
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n") //nolint:errcheck // the client says what it missed
		p.talk(rw.Reader, conn)
	})
	c.mux.HandleFunc("POST /exec/e1/resize", func(_ http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.resizes = append(p.resizes, r.URL.RawQuery)
	})
	c.mux.HandleFunc("GET /exec/e1/json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, container.ExecInspectResponse{ID: "e1", ExitCode: &p.code})
	})
}

// frames writes to both streams of a process without a TTY.
func frames(conn io.Writer, out, err string) {
	for i, s := range []string{out, err} {
		if s != "" {
			conn.Write(append([]byte{byte(stdcopy.Stdout) + byte(i), 0, 0, 0, 0, 0, 0, byte(len(s))}, s...)) //nolint:errcheck // as above
		}
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	c := demoCLI(t)
	p := &process{code: 7, talk: func(stdin *bufio.Reader, conn io.Writer) {
		in, _ := io.ReadAll(stdin)
		frames(conn, "got "+string(in), "careful\n")
	}}
	p.serve(c)
	c.in, c.environ = "input\n", []string{"FROM_ENV=1"}
	c.run("exec", "-u", "me", "-w", "/tmp", "-e", "A=b", "-e", "FROM_ENV", "-e", "UNSET", "--privileged", "web", "sh", "-c", "exit 7").
		expect(t, 7, "got input\n", "careful\n")
	r := p.create
	if r.User != "me" || r.WorkingDir != "/tmp" || strings.Join(r.Env, " ") != "A=b FROM_ENV=1" || !r.Privileged || r.Tty ||
		!r.AttachStdin || strings.Join(r.Cmd, "|") != "sh|-c|exit 7" {
		t.Errorf("asked for %+v", r)
	}
	p.code = 0
	c.run("exec", "-d", "web", "true").expect(t, 0, "", "")
	if p.create.AttachStdin || p.create.AttachStdout {
		t.Errorf("detached asks for %+v", p.create)
	}
	c.run("exec", "job", "true").expect(t, 1, "", "service \"job\" is not running\n")
	c.run("exec", "--index", "9", "web", "true").expect(t, 1, "", "service \"web\" is not running container #9\n")
}

func TestExecTarget(t *testing.T) {
	t.Parallel()
	for index, want := range map[int]string{0: "demo-web-1", 1: "demo-web-1", 2: "demo-web-2"} {
		if got, err := execTarget(demo(), "web", index); err != nil || got.Name != want {
			t.Errorf("index %d: %s, %v; want %s", index, got.Name, err, want)
		}
	}
}

// On a terminal every key goes to the process, the size of the window too, and the terminal is afterwards as it was.
func TestExecTTY(t *testing.T) {
	t.Parallel()
	c := demoCLI(t)
	raw := make(chan struct{})
	p := &process{talk: func(stdin *bufio.Reader, conn io.Writer) {
		io.WriteString(conn, "ready\r\n") //nolint:errcheck // the test would see that nothing comes
		key, _ := stdin.ReadByte()
		if key == 3 { // Ctrl-C
			io.WriteString(conn, "bye\r\n") //nolint:errcheck // as above
		}
		close(raw)
	}}
	p.serve(c)
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := master.Resize(console.WinSize{Height: 33, Width: 101}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	seen := &output{}
	go io.Copy(seen, master) //nolint:errcheck // ends when the terminal is closed
	before := flags(t, tty)

	a := &app{in: tty, out: tty, err: tty, signals: c.signals, environ: []string{"HOME=/nonexistent"}}
	ended := make(chan int, 1)
	go func() {
		ended <- a.main(context.Background(), []string{"--root", c.root, "-p", "demo", "exec", "web", "sh"})
	}()
	seen.await(t, "ready")
	if _, err := master.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-raw:
	case <-time.After(10 * time.Second):
		t.Fatalf("the key does not arrive; the terminal shows %q", seen.String())
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, seen.String())
	}
	seen.await(t, "bye")
	if after := flags(t, tty); !bytes.Equal(before, after) {
		t.Errorf("the terminal was %s, and is left as %s", before, after)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.create.Tty || p.create.ConsoleSize == nil || *p.create.ConsoleSize != [2]uint{33, 101} {
		t.Errorf("asked for %+v", p.create)
	}
	if len(p.resizes) == 0 || p.resizes[0] != "h=33&w=101" {
		t.Errorf("resized to %v", p.resizes)
	}
}

// flags are the terminal's settings as text.
func flags(t *testing.T, tty *os.File) []byte {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "%+v", *settings)
}
