package guest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// When a script, or a boot, is taken for hung: a machine under load that emulates another is slow.
const (
	patience     = 8 * time.Minute
	bootPatience = 5 * time.Minute
)

var image = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("./guest.sh")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		return "", errors.New(log.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// machine is a QEMU process and the agent inside.
type machine struct {
	t       *testing.T
	dir     string // its disk and sockets
	image   string
	options string // added to the kernel's command line
	tools   string // an ext4 image, mounted at /opt/tutti

	qemu  *exec.Cmd
	conn  net.Conn
	lines *bufio.Reader
	count int
}

// newMachine boots a machine with a disk of its own. The folder tools is seen in it at /opt/tutti.
func newMachine(t *testing.T, options, tools string) *machine {
	t.Helper()
	image, err := image()
	if err != nil {
		t.Fatalf("make the guest: %v", err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "tutti-guest-") // not t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, image: image, options: options, tools: filepath.Join(dir, "tools.img")}
	command(t, "cp", "--sparse=always", "--reflink=auto", filepath.Join(image, "disk.img"), m.disk())
	size := folderSize(t, tools)
	command(t, "truncate", "-s", strconv.FormatInt(size+size/4+16<<20, 10), m.tools)
	command(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tools, m.tools)
	t.Cleanup(m.cutPower)
	m.powerOn()
	return m
}

func (m *machine) disk() string { return filepath.Join(m.dir, "disk.img") }

func folderSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

func command(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Path, _ = lookPath(args[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// lookPath finds a program also where only root's shells look.
func lookPath(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// powerOn boots the machine and returns when it is up. A boot that hangs is tried once more: QEMU without KVM at times does
// not get out of its firmware.
func (m *machine) powerOn() {
	m.t.Helper()
	m.start()
	err := m.ready()
	if err != nil {
		m.t.Logf("the guest did not come up, once more: %v", err)
		m.cutPower()
		m.start()
		err = m.ready()
	}
	if err != nil {
		console, _ := os.ReadFile(m.console())
		m.t.Fatalf("the guest did not come up: %v\n%s", err, tail(console))
	}
	m.sh("systemctl is-system-running --wait") // its answer is of no interest
	m.must("mount -o ro /dev/vdb /opt/tutti && ln -sf /opt/tutti/tutti /usr/local/bin/tutti")
}

// ready waits for the agent's first word.
func (m *machine) ready() error {
	_, _, err := m.answer("ready", bootPatience, nil)
	return err
}

// start starts QEMU, which ends when the machine is switched off or reboots.
func (m *machine) start() {
	m.t.Helper()
	socket := filepath.Join(m.dir, "agent")
	_ = os.Remove(socket)
	m.qemu = exec.Command("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1536", "-smp", "2",
		"-kernel", filepath.Join(m.image, "vmlinuz"), "-initrd", filepath.Join(m.image, "initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 "+m.options,
		"-nographic", "-nodefaults", "-no-reboot", "-serial", "file:"+m.console(), "-device", "virtio-rng-pci",
		"-drive", "file="+m.disk()+",format=raw,if=virtio",
		"-drive", "file="+m.tools+",format=raw,if=virtio,readonly=on",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,server=on,wait=off,path="+socket,
		"-device", "virtserialport,chardev=agent")
	var log bytes.Buffer
	m.qemu.Stdout, m.qemu.Stderr = &log, &log
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.qemu.Start(); err != nil {
		m.t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		var err error
		if m.conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		if time.Now().After(deadline) || m.qemu.ProcessState != nil {
			m.t.Fatalf("QEMU does not listen: %v\n%s", err, log.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.lines = bufio.NewReader(m.conn)
}

func (m *machine) console() string { return filepath.Join(m.dir, "console") }

func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }

// answer reads output up to the agent's mark, and gives every line of it to each as it comes.
func (m *machine) answer(token string, within time.Duration, each func(line string)) (output string, status int, err error) {
	if err := m.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for {
		line, err := m.lines.ReadString('\n')
		if rest, ok := strings.CutPrefix(line, "@@"+token+" "); ok && err == nil {
			status, err := strconv.Atoi(strings.TrimSpace(rest))
			return strings.TrimSuffix(b.String(), "\n"), status, err
		}
		b.WriteString(line)
		if each != nil {
			each(line)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the machine has ended")
			}
			return b.String(), -1, err
		}
	}
}

// sh runs a shell script in the guest and returns its output and exit status.
func (m *machine) sh(script string) (string, int) {
	m.t.Helper()
	return m.stream(script, nil)
}

func (m *machine) stream(script string, each func(line string)) (string, int) {
	m.t.Helper()
	m.send(script)
	out, status, err := m.answer(m.token(), patience, each)
	if err != nil {
		console, _ := os.ReadFile(m.console())
		m.t.Fatalf("in the guest: %s: %v\n%s\nconsole:\n%s", script, err, out, tail(console))
	}
	return out, status
}

func (m *machine) token() string { return "t" + strconv.Itoa(m.count) }

func (m *machine) send(script string) {
	m.t.Helper()
	m.count++
	line := fmt.Sprintf("%s %s\n", m.token(), base64.StdEncoding.EncodeToString([]byte(script)))
	if _, err := io.WriteString(m.conn, line); err != nil {
		m.t.Fatalf("talk to the guest: %v", err)
	}
}

// must runs a script that has to succeed.
func (m *machine) must(script string) string {
	m.t.Helper()
	out, status := m.sh(script)
	if status != 0 {
		m.t.Fatalf("in the guest: %s: status %d\n%s", script, status, out)
	}
	return strings.TrimSpace(out)
}

// eventually runs a script until it succeeds.
func (m *machine) eventually(within time.Duration, script string) string {
	m.t.Helper()
	deadline := time.Now().Add(within)
	for {
		out, status := m.sh(script)
		if status == 0 {
			return strings.TrimSpace(out)
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %v in the guest: %s\n%s", within, script, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// reboot is an orderly restart of the guest.
func (m *machine) reboot() {
	m.t.Helper()
	m.send("systemctl reboot")
	down := make(chan error, 1)
	go func() { down <- m.qemu.Wait() }()
	select {
	case <-down:
	case <-time.After(patience):
		m.t.Fatalf("the guest did not go down within %v", patience)
	}
	_ = m.conn.Close()
	m.powerOn()
}

// cutPower ends the machine without a word to it: what the guest had not written is lost.
func (m *machine) cutPower() {
	if m.conn != nil {
		_ = m.conn.Close()
	}
	if m.qemu != nil && m.qemu.Process != nil {
		_ = m.qemu.Process.Kill()
		_ = m.qemu.Wait()
	}
}

// tests runs a test binary in the guest; each of its tests becomes a subtest here, and a failing one fails with its output.
func (m *machine) tests(t *testing.T, dir, program, flags string) {
	t.Helper()
	// In a machine that is emulated nothing is fast: the limit is for a hang alone.
	script := fmt.Sprintf("mkdir -p %[1]s && cd %[1]s && TUTTI_BASE_IMAGES=/opt/tutti /opt/tutti/%[2]s -test.v -test.timeout 7m %[3]s", dir, program, flags)
	r := report{t: t}
	began := time.Now()
	out, status := m.stream(script, r.line)
	t.Logf("%s: %d tests in %v", program, r.seen, time.Since(began).Round(time.Second))
	if r.seen == 0 {
		t.Errorf("%s ran no test: status %d\n%s", program, status, out)
	}
	// Go prints the log of a parallel test that fails behind everything, and a panic after no test at all.
	if status != 0 {
		t.Errorf("%s: status %d\n%s", program, status, tail([]byte(out)))
	}
}

// report turns the output of `-test.v` into subtests.
type report struct {
	t       *testing.T
	current string // whose output comes, as go's lines "=== RUN", "=== CONT" and "=== NAME" say
	output  map[string]*bytes.Buffer
	seen    int
}

func (r *report) line(line string) {
	trimmed := strings.TrimSpace(line)
	if _, rest, ok := strings.Cut(trimmed, "=== "); ok && strings.HasPrefix(line, "=== ") {
		if f := strings.Fields(rest); len(f) == 2 {
			r.current, _, _ = strings.Cut(f[1], "/")
			return
		}
	}
	verdict, rest, ok := strings.Cut(trimmed, ": ")
	name, _, _ := strings.Cut(rest, " ")
	if !ok || !strings.HasPrefix(line, "--- ") || name == "" {
		r.of(r.current).WriteString(line)
		return
	}
	r.seen++
	r.t.Run(name, func(t *testing.T) {
		text := r.of(name).String() + line
		switch verdict {
		case "--- FAIL":
			t.Errorf("failed in the guest:\n%s", text)
		case "--- SKIP":
			t.Errorf("skipped in the guest: no test may be\n%s", text)
		default:
			t.Logf("%s", line)
		}
	})
}

func (r *report) of(name string) *bytes.Buffer {
	if r.output == nil {
		r.output = map[string]*bytes.Buffer{}
	}
	if r.output[name] == nil {
		r.output[name] = &bytes.Buffer{}
	}
	return r.output[name]
}

// build compiles a package's tests for the guest.
func build(ctx context.Context, t *testing.T, pkg, to string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-tags=modules", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile the tests of %s: %v\n%s", pkg, err, out)
	}
}
