package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/server"
	"tutti/runtime/logs"
)

// The test binary is also the keeper, an engine and a container process, by the name or first argument with
// which it is started.
func TestMain(m *testing.M) {
	if os.Args[0] == "tutti-keeper" {
		os.Exit(server.Main(os.Args))
	}
	if len(os.Args) > 2 && os.Args[1] == "engine" {
		os.Exit(testEngine(os.Args[2], os.Args[3]))
	}
	// What a test leaves behind becomes a child of this process, where it can be waited for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// testEngine serves commands on <dir>/engine.sock: one JSON list per line, answered by one JSON value.
func testEngine(mode, dir string) int {
	switch mode {
	case "refuses":
		Ready(errors.New("the disk is on holiday"))
		return 1
	case "crashes":
		fmt.Fprintln(os.Stderr, "panic: out of cheese")
		return 3
	case "crashes-silently":
		return 3
	case "finishes":
		return 0
	}
	if _, err := os.Stat(filepath.Join(dir, "broken")); err == nil {
		Ready(errors.New("broken"))
		return 1
	}
	c, err := Connect()
	if err != nil {
		Ready(err)
		return 1
	}
	if err := resumeCapture(c, dir); err != nil {
		Ready(err)
		return 1
	}
	if mode == "inherits" {
		go func() {
			<-c.Lost()
			o := StartOptions{RunDir: filepath.Join(dir, "run"), LogFile: filepath.Join(dir, "log", "engine.log"), EngineArgv: os.Args, EngineEnv: os.Environ()}
			if err := c.bequeath(context.Background(), o, program); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			os.Exit(3)
		}()
	}
	sock := filepath.Join(dir, "engine.sock")
	os.Remove(sock)
	l, err := net.Listen("unix", sock)
	if err != nil {
		Ready(err)
		return 1
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveTestEngine(c, conn)
		}
	}()
	Ready(nil)
	<-term
	return 0
}

func serveTestEngine(c *Client, conn net.Conn) {
	defer conn.Close()
	in := bufio.NewScanner(conn)
	for in.Scan() {
		var args []string
		var answer any
		err := json.Unmarshal(in.Bytes(), &args)
		if err == nil {
			answer, err = testCommand(c, args)
		}
		if err != nil {
			answer = "error: " + err.Error()
		}
		b, _ := json.Marshal(answer)
		_, _ = conn.Write(append(b, '\n'))
	}
}

func testCommand(c *Client, args []string) (any, error) {
	switch id := args[1]; args[0] {
	case "pids":
		return []int{os.Getpid(), os.Getppid()}, nil
	case "held":
		return c.Held(), nil
	case "spawn": // spawn ID shell-script: a child of the keeper
		pid, err := spawn(args[2])
		if err != nil {
			return nil, err
		}
		return pid, c.Register(id, pid)
	case "spawn-unregistered":
		return spawn(args[2])
	case "register":
		pid, _ := strconv.Atoi(args[2])
		return nil, c.Register(id, pid)
	case "wait":
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		status, err := c.Wait(ctx, id)
		if id == captured && err == nil {
			<-captureDone
		}
		return status, err
	case "release":
		return nil, c.Release(id)
	case "capture": // capture DIR shell-script: a child of the keeper whose output is logged
		return nil, runCaptured(c, id, args[2])
	case "hold": // hold ID count: pipes whose content is their name
		n, _ := strconv.Atoi(args[2])
		return nil, holdPipes(c, id, n)
	case "take":
		return takePipes(c, id)
	case "bench":
		return bench(c, id)
	case "stop":
		defer func() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) }()
		return nil, c.Stopping()
	case "exit":
		code, _ := strconv.Atoi(id)
		os.Exit(code)
	}
	return nil, errors.New("what?")
}

func spawn(script string) (int, error) {
	return syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT},
	})
}

const captured = "captured"

// captureDone is closed when this engine has captured everything.
var captureDone = make(chan struct{})

func runCaptured(c *Client, dir, script string) error {
	p, err := logs.NewPipes()
	if err != nil {
		return err
	}
	if err := c.Hold(captured, p.Files()); err != nil {
		return err
	}
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, p.Stdout.Fd(), p.Stderr.Fd()},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT},
	})
	if err != nil {
		return err
	}
	if err := c.Register(captured, pid); err != nil {
		return err
	}
	p.CloseChild()
	return startCapture(dir, p)
}

// resumeCapture goes on with what another engine has begun.
func resumeCapture(c *Client, dir string) error {
	if !slices.Contains(c.Held(), captured) {
		return nil
	}
	files, err := c.Take(captured)
	if err != nil {
		return err
	}
	p, err := logs.FromFiles(files)
	if err != nil {
		return err
	}
	return startCapture(dir, p)
}

func startCapture(dir string, p *logs.Pipes) error {
	f, err := logs.Open(filepath.Join(dir, "log.json"), logs.Options{Resume: p})
	if err != nil {
		return err
	}
	go func() {
		if err := f.Capture(context.Background(), p); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		close(captureDone)
	}()
	return nil
}

func holdPipes(c *Client, id string, n int) error {
	files := map[string]*os.File{}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for i := range n {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		name := "pipe" + strconv.Itoa(i)
		files[name] = r
		_, _ = w.WriteString(name)
		w.Close()
	}
	return c.Hold(id, files)
}

func takePipes(c *Client, id string) (map[string]string, error) {
	files, err := c.Take(id)
	if err != nil {
		return nil, err
	}
	content := map[string]string{}
	for name, f := range files {
		var b [64]byte
		n, err := f.Read(b[:])
		if err != nil {
			return nil, err
		}
		content[name] = string(b[:n])
		f.Close()
	}
	return content, nil
}

// bench measures what the keeper costs n container starts one after the other, in microseconds each:
// Hold of five files, Register, Release.
func bench(c *Client, count string) (map[string]float64, error) {
	n, _ := strconv.Atoi(count)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	files := map[string]*os.File{"a": r, "b": w, "c": r, "d": w, "e": r}
	out := map[string]float64{}
	pids := make([]int, n)
	defer func() {
		for i, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_ = c.Release("bench" + strconv.Itoa(i))
		}
	}()
	for i := range pids {
		if pids[i], err = spawn("exec sleep 1000"); err != nil {
			return nil, err
		}
	}
	steps := []struct {
		name string
		do   func(id string, i int) error
	}{
		{"hold", func(id string, _ int) error { return c.Hold(id, files) }},
		{"register", func(id string, i int) error { return c.Register(id, pids[i]) }},
		{"release", func(id string, _ int) error { return c.Release(id) }},
		{"take", func(id string, _ int) error { _, err := c.Take(id); return err }},
	}
	for _, s := range steps {
		start := time.Now()
		for i := range n {
			if err := s.do("bench"+strconv.Itoa(i), i); err != nil {
				return nil, err
			}
		}
		out[s.name] = float64(time.Since(start).Microseconds()) / float64(n)
	}
	return out, nil
}

// bed is a keeper and engine of one test.
type bed struct {
	t       testing.TB
	dir     string
	options StartOptions
	program func() (*os.File, error)
	keeper  int
}

func program() (*os.File, error) { return os.Open("/proc/self/exe") }

// newBed prepares a folder; start runs the engine.
func newBed(t testing.TB, mode string) *bed {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &bed{t: t, dir: dir, program: program, options: StartOptions{
		RunDir: filepath.Join(dir, "run"), LogFile: filepath.Join(dir, "log", "engine.log"),
		EngineArgv: []string{exe, "engine", mode, dir}, EngineEnv: os.Environ(),
	}}
}

func (b *bed) start() {
	b.t.Helper()
	if err := start(b.t.Context(), b.options, b.program); err != nil {
		b.t.Fatal(err)
	}
	_, b.keeper = b.pids()
	b.t.Cleanup(b.stop)
}

// stop ends the keeper and sees it gone.
func (b *bed) stop() {
	_ = syscall.Kill(b.keeper, syscall.SIGTERM)
	awaitEnd(b.t, b.keeper)
	if log, err := os.ReadFile(b.options.LogFile); err == nil && b.t.Failed() {
		b.t.Logf("engine's log:\n%s", log)
	}
}

// awaitEnd reaps pid, a child of this process since it is a subreaper.
func awaitEnd(t testing.TB, pid int) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil)
		if got == pid || err == syscall.ECHILD && syscall.Kill(pid, 0) == syscall.ESRCH {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end: %v", pid, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitGone waits for the end of a process that is not this one's child.
func awaitGone(t testing.TB, pid int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); syscall.Kill(pid, 0) == nil; {
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

// try sends a command to the engine once.
func (b *bed) try(answer any, args ...string) error {
	conn, err := net.Dial("unix", filepath.Join(b.dir, "engine.sock"))
	if err != nil {
		return err
	}
	defer conn.Close()
	line, _ := json.Marshal(append(args, "")[:max(2, len(args))])
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	got, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(got, `"error: `) {
		return errors.New(got)
	}
	return json.Unmarshal([]byte(got), answer)
}

// ask sends a command to the engine, as soon as there is one.
func (b *bed) ask(answer any, args ...string) {
	b.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := b.try(answer, args...)
		if err == nil {
			return
		}
		if strings.HasPrefix(err.Error(), `"error: `) || time.Now().After(deadline) {
			b.t.Fatalf("%v: %v", args, err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (b *bed) pids() (engine, keeper int) {
	b.t.Helper()
	var pids []int
	b.ask(&pids, "pids")
	return pids[0], pids[1]
}

// killEngine kills the engine with -9 and returns once another answers.
func (b *bed) killEngine() time.Duration {
	b.t.Helper()
	old, _ := b.pids()
	start := time.Now()
	_ = syscall.Kill(old, syscall.SIGKILL)
	for {
		if engine, _ := b.pids(); engine != old {
			return time.Since(start)
		}
	}
}
