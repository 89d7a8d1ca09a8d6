package oci

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// consoleSocket listens for one terminal, as conmon and containerd's shim do.
func (p *place) consoleSocket() (path string, take func() *os.File) {
	p.t.Helper()
	dir, err := os.MkdirTemp("", "tutti-oci") // an address has 107 bytes
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = l.Close() })
	return path, func() *os.File {
		p.t.Helper()
		conn, err := l.AcceptUnix()
		if err != nil {
			p.t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // received below
		name, oob := make([]byte, 64), make([]byte, 64)
		n, oobn, _, _, err := conn.ReadMsgUnix(name, oob)
		if err != nil || n == 0 {
			p.t.Fatal(n, err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 {
			p.t.Fatal(messages, err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			p.t.Fatal(fds, err)
		}
		return os.NewFile(uintptr(fds[0]), "terminal")
	}
}

// readAll reads a terminal to its end, which is an error.
func readAll(master *os.File) string {
	var out strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			return out.String()
		}
	}
}

func TestConsoleSocket(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	socket, take := p.consoleSocket()
	bundle := p.bundle(func(s *specs.Spec) {
		s.Process.Terminal, s.Process.ConsoleSize = true, &specs.Box{Width: 91, Height: 31}
	}, "sh", "-c", "ls -l /proc/self/fd/0; cat; exit 0")
	p.must("create", "--console-socket", socket, "--bundle", bundle, "c")
	master := take()
	defer master.Close() //nolint:errcheck // a terminal
	if size, err := unix.IoctlGetWinsize(int(master.Fd()), unix.TIOCGWINSZ); err != nil || size.Col != 91 || size.Row != 31 {
		t.Errorf("%+v %v", size, err)
	}
	p.must("start", "c")
	if _, err := master.WriteString("typed\n\x04"); err != nil {
		t.Fatal(err)
	}
	if out := readAll(master); !strings.Contains(out, "/dev/pts/0") || strings.Count(out, "typed\r\n") != 2 {
		t.Errorf("%q", out)
	}

	p.started("d", nil, "sleep", "1000")
	socket, take = p.consoleSocket()
	p.must("exec", "--tty", "--detach", "--console-socket", socket, "d", "sh", "-c", "ls -l /proc/self/fd/0")
	exec := take()
	defer exec.Close() //nolint:errcheck // a terminal
	if out := readAll(exec); !strings.Contains(out, "/dev/pts/0") {
		t.Errorf("%q", out)
	}
	// In the foreground the runtime itself reads the terminal.
	if out := p.must("exec", "--tty", "d", "sh", "-c", "ls -l /proc/self/fd/1; echo end"); !strings.Contains(out, "/dev/pts/") || !strings.HasSuffix(out, "end\r\n") {
		t.Errorf("%q", out)
	}
	p.fails(255, "--console-socket", "exec", "--tty", "--detach", "d", "true")
	p.fails(255, "console socket", "exec", "--tty", "--detach", "--console-socket", "/nosuch", "d", "true")
}

func TestExec(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.fails(255, "does not exist", "exec", "c", "true")
	p.started("c", func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "FROM=spec") }, "sleep", "1000")
	if out := p.must("exec", "-u", "7:8", "-g", "9", "--cwd", "/bin", "-e", "X=y", "c", "sh", "-c", "id; pwd; echo $X $FROM"); out != "uid=7 gid=8 groups=9\n/bin\ny spec\n" {
		t.Errorf("%q", out)
	}
	if r := p.run("exec", "c", "sh", "-c", "echo err >&2; exit 3"); r.code != 3 || r.stderr != "err\n" {
		t.Error(r)
	}
	if r := p.run("exec", "c", "sh", "-c", "kill -9 $$"); r.code != 137 {
		t.Error(r)
	}
	cmd := p.command("exec", "c", "cat")
	cmd.Stdin = strings.NewReader("input")
	if r := p.finish(cmd); r.stdout != "input" {
		t.Error(r)
	}
	p.fails(255, "exec failed: exec in container c: exec nosuch: executable file not found in $PATH", "exec", "c", "nosuch")
	p.fails(255, "process args cannot be empty", "exec", "c")
	p.fails(255, "UID", "exec", "-u", "root", "c", "true")
	p.fails(255, "--cgroup is not supported", "exec", "--cgroup", "x", "c", "true")
	status := p.must("exec", "--cap", "CAP_SYS_ADMIN", "--no-new-privs", "c", "cat", "/proc/self/status")
	if !strings.Contains(status, "NoNewPrivs:\t1") || !strings.Contains(status, "Seccomp:\t2") || !strings.Contains(status, "CapBnd:\t00000000a82425fb") {
		t.Error(status)
	}
}

func TestExecProcessFile(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.started("c", nil, "sleep", "1000")
	file, pidFile := filepath.Join(p.dir, "process.json"), filepath.Join(p.dir, "pid")
	b, err := json.Marshal(specs.Process{
		Args: []string{"sh", "-c", "echo $A > /done; exec sleep 999"}, Cwd: "/", Env: []string{"A=b", "PATH=/bin"},
		User:        specs.User{UID: 0, GID: 0},
		IOPriority:  &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE},
		OOMScoreAdj: new(77), ExecCPUAffinity: &specs.CPUAffinity{Initial: "0-1", Final: "0"},
	})
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.must("exec", "--process", file, "--detach", "--pid-file", pidFile, "c")
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	p.decode(p.must("ps", "--format", "json", "c"), &pids)
	if n, err := strconv.Atoi(string(pid)); err != nil || len(pids) != 2 || (pids[0] != n && pids[1] != n) {
		t.Errorf("pid file %q, processes %v", pid, pids)
	}
	proc := "/proc/" + string(pid)
	waitFor(t, func() bool { b, _ := os.ReadFile(proc + "/cmdline"); return string(b) == "sleep\x00999\x00" })
	if out := p.must("exec", "c", "cat", "/done"); out != "b\n" {
		t.Error(out)
	}
	if b, err := os.ReadFile(proc + "/oom_score_adj"); string(b) != "77\n" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := os.ReadFile(proc + "/status"); err != nil || !strings.Contains(string(b), "\nCpus_allowed_list:\t0\n") {
		t.Errorf("%s %v", b, err)
	}
	p.fails(255, "read process", "exec", "--process", "/nosuch", "c")
}
