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
	"golang.org/x/sys/unix"

	"tutti/scheduler/api"
)

// process answers for the engine: one exec, that says what it was given.
type process struct {
	mu    sync.Mutex
	asked api.ExecRequest
	end   api.End
	// talk is the process: its stdin, and what writes its output.
	talk func(stdin *bufio.Reader, write func(kind api.FrameKind, text string))
}

func (p *process) serve(c *cli) {
	c.mux.HandleFunc("POST "+api.Prefix+"/exec", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = api.ExecRequest{}
		err := json.NewDecoder(r.Body).Decode(&p.asked)
		detached := p.asked.Detach
		p.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n") //nolint:errcheck // the client says what it missed
		write := func(kind api.FrameKind, text string) {
			h := api.FrameHeader(kind, len(text))
			conn.Write(append(h[:], text...)) //nolint:errcheck // as above
		}
		write(api.FrameBegun, `{"id":"e1","stdin":true}`)
		if !detached {
			p.talk(rw.Reader, write)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		end, _ := json.Marshal(p.end)
		write(api.FrameEnd, string(end))
	})
}

func TestExec(t *testing.T) {
	t.Parallel()
	c := demoCLI(t)
	p := &process{end: api.End{Code: 7}, talk: func(stdin *bufio.Reader, write func(api.FrameKind, string)) {
		in, _ := io.ReadAll(stdin)
		write(api.FrameStdout, "got "+string(in))
		write(api.FrameStderr, "careful\n")
	}}
	p.serve(c)
	c.in, c.environ = "input\n", []string{"FROM_ENV=1"}
	c.run("exec", "-u", "me", "-w", "/tmp", "-e", "A=b", "-e", "FROM_ENV", "-e", "UNSET", "--privileged", "web", "sh", "-c", "exit 7").
		expect(t, 7, "got input\n", "careful\n")
	r := p.asked
	if r.User != "me" || r.WorkingDir != "/tmp" || strings.Join(r.Env, " ") != "A=b FROM_ENV=1" || !r.Privileged || r.TTY ||
		!r.Stdin || strings.Join(r.Args, "|") != "sh|-c|exit 7" {
		t.Errorf("asked for %+v", r)
	}
	p.end = api.End{}
	c.run("exec", "-d", "web", "true").expect(t, 0, "", "")
	if !p.asked.Detach || p.asked.TTY {
		t.Errorf("detached asks for %+v", p.asked)
	}
	for code, want := range map[int]int{126: 126, 127: 127, 125: 1} {
		p.end = api.End{Code: code, Error: "it is not there"}
		c.run("exec", "web", "nothing").expect(t, want, "got input\n", "careful\nit is not there\n")
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
	p := &process{talk: func(stdin *bufio.Reader, write func(api.FrameKind, string)) {
		write(api.FrameStdout, "ready\r\n")
		key, _ := stdin.ReadByte()
		if key == 3 { // Ctrl-C
			write(api.FrameStdout, "bye\r\n")
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
	case <-time.After(2 * time.Minute):
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
	if !p.asked.TTY || p.asked.Size != (api.Size{Width: 101, Height: 33}) {
		t.Errorf("asked for %+v", p.asked)
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
