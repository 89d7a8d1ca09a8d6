package logs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// self starts the test binary in another role.
func self(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

func newPipes(t testing.TB) *Pipes {
	t.Helper()
	p, err := NewPipes()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// write starts a container process on p.
func write(t testing.TB, p *Pipes, args ...string) *exec.Cmd {
	t.Helper()
	cmd := self(t, args...)
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if err := p.CloseChild(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestExactlyOnce: an engine is killed with -9 at random moments while a container writes as fast as it can;
// every line must be there once and in order. The test process holds the pipes, as the keeper does.
func TestExactlyOnce(t *testing.T) {
	const kills = 40
	for maxSize, count := range map[int]int{0: 400_000, 100_000: 150_000} {
		t.Run(fmt.Sprintf("max-size %d", maxSize), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			p := newPipes(t)
			var files []*os.File
			for _, name := range pipeNames {
				files = append(files, p.files[name])
			}
			engine := func() *exec.Cmd {
				cmd := self(t, "engine", path, strconv.Itoa(maxSize))
				cmd.ExtraFiles = files
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cmd.Process.Kill() })
				return cmd
			}
			writer := write(t, p, "writer", strconv.Itoa(count))
			interrupted := 0
			for range kills {
				cmd := engine()
				time.Sleep(time.Duration(rand.IntN(12_000)) * time.Microsecond)
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if staged, err := unix.IoctlGetInt(int(files[2].Fd()), unix.TIOCINQ); err == nil && staged > 0 {
					interrupted++
				}
			}
			if err := engine().Wait(); err != nil {
				t.Fatal(err)
			}
			if err := writer.Wait(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d kills, %d in the middle of a batch", kills, interrupted)
			verifyNumbered(t, path, count)
		})
	}
}

// verifyNumbered checks the log of "writer COUNT".
func verifyNumbered(t *testing.T, path string, count int) {
	t.Helper()
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next := map[string]int{}
	var last time.Time
	err = f.Read(t.Context(), ReadOptions{Tail: -1}, func(e Entry) error {
		i := next[e.Stream]
		want := fmt.Sprintf("%d %s\n", i, "padding that makes the line longer"[:i%35])
		if string(e.Line) != want {
			return fmt.Errorf("%s: %q instead of %q", e.Stream, e.Line, want)
		}
		if e.Time.Before(last) {
			return fmt.Errorf("line %d: time goes back", i)
		}
		last = e.Time
		next[e.Stream]++
		return nil
	})
	if err != nil || next[Stdout] != count || next[Stderr] != count {
		t.Errorf("%v lines of %d: %v", next, count, err)
	}
}

func startCapture(t *testing.T, f *File, p *Pipes) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f.Capture(t.Context(), p) }()
	return done
}

func await(t *testing.T, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if err != want {
			t.Errorf("ended with %v, want %v", err, want)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("does not end")
	}
}

func TestCaptureEnds(t *testing.T) {
	t.Parallel()
	t.Run("with the writers", func(t *testing.T) {
		f, p := openLog(t, Options{}), newPipes(t)
		done := startCapture(t, f, p)
		_, _ = p.Stdout.WriteString("out\nrest")
		_, _ = p.Stderr.WriteString("err\n")
		p.CloseChild()
		await(t, done, nil)
		if got := lines(t, f, ReadOptions{Tail: -1}); len(got) != 3 {
			t.Errorf("got %q", got)
		}
	})
	t.Run("with Drain", func(t *testing.T) {
		f, p := openLog(t, Options{}), newPipes(t)
		done := startCapture(t, f, p)
		for i := range 100 {
			fmt.Fprintf(p.Stdout, "%d %s\n", i, strings.Repeat("x", 500))
		}
		p.Drain()
		await(t, done, nil)
		if got := lines(t, f, ReadOptions{Tail: -1}); len(got) != 100 {
			t.Errorf("%d lines", len(got))
		}
	})
	t.Run("with Drain before it began", func(t *testing.T) {
		f, p := openLog(t, Options{}), newPipes(t)
		_, _ = p.Stdout.WriteString("x\n")
		p.Drain()
		await(t, startCapture(t, f, p), nil)
		equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), "o:x")
	})
	t.Run("with the context, and goes on", func(t *testing.T) {
		f, p := openLog(t, Options{}), newPipes(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, _ = p.Stdout.WriteString("a\n")
		done := make(chan error, 1)
		go func() { done <- f.Capture(ctx, p) }()
		for got := ""; got != "a\n"; {
			_ = f.Read(t.Context(), ReadOptions{Tail: -1}, func(e Entry) error { got = string(e.Line); return nil })
		}
		cancel()
		await(t, done, context.Canceled)
		_, _ = p.Stdout.WriteString("b\n")
		p.CloseChild()
		await(t, startCapture(t, f, p), nil)
		equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), "o:a", "o:b")
	})
}

// TestPacketMode: a container may make its pipe one of packets (pipe2(2), O_DIRECT); nothing must be lost.
func TestPacketMode(t *testing.T) {
	t.Parallel()
	f, p := openLog(t, Options{}), newPipes(t)
	if _, err := unix.FcntlInt(p.Stdout.Fd(), unix.F_SETFL, unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	done := startCapture(t, f, p)
	var want bytes.Buffer
	for i := range 2000 {
		line := fmt.Sprintf("%d\n", i)
		want.WriteString(line)
		_, _ = p.Stdout.WriteString(line)
	}
	p.CloseChild()
	await(t, done, nil)
	var got bytes.Buffer
	err := f.Read(t.Context(), ReadOptions{Tail: -1}, func(e Entry) error { got.Write(e.Line); return nil })
	if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%d bytes of %d: %v", got.Len(), want.Len(), err)
	}
}

// TestFullDisk: on a full disk the container waits, and nothing is lost or doubled.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=300k"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(filepath.Join(dir, "log"), Options{MaxSize: 50_000, MaxFiles: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := newPipes(t)
	done := startCapture(t, f, p)
	writer := write(t, p, "writer", "1200")
	ended := make(chan error, 1)
	go func() { ended <- writer.Wait() }()
	select {
	case <-ended:
	case <-time.After(100 * time.Millisecond):
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	await(t, done, nil)
	verifyNumbered(t, f.path, 1200)
}

func TestConsole(t *testing.T) {
	t.Parallel()
	master, slave := pty(t)
	f := openLog(t, Options{})
	sub, err := f.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.CaptureConsole(t.Context(), master) }()
	_, _ = slave.WriteString("prompt> ")
	var got strings.Builder
	seen := make(chan error, 1)
	go func() {
		seen <- sub.Run(t.Context(), func(e Entry) error { got.Write(e.Line); return nil })
	}()
	_, _ = slave.WriteString("x\n")
	slave.Close()
	await(t, done, nil)
	f.Finish()
	await(t, seen, nil)
	if got.String() != "prompt> x\r\n" {
		t.Errorf("attached client sees %q", got.String())
	}
	equal(t, "log", lines(t, f, ReadOptions{Tail: -1}), "o:prompt> x\r")
	ctx, cancel := context.WithCancel(t.Context())
	master2, _ := pty(t)
	go func() { done <- f.CaptureConsole(ctx, master2) }()
	cancel()
	await(t, done, context.Canceled)
}

func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

// TestManyContainers: 500 captures must cost two goroutines each and little memory.
func TestManyContainers(t *testing.T) {
	const count = 500
	before := runtime.NumGoroutine()
	var stat runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stat)
	heap := stat.HeapAlloc + stat.StackInuse
	var dones []<-chan error
	var pipes []*Pipes
	for range count {
		f, p := openLog(t, Options{}), newPipes(t)
		dones, pipes = append(dones, startCapture(t, f, p)), append(pipes, p)
		_, _ = p.Stdout.WriteString("hello\n")
	}
	if n := runtime.NumGoroutine() - before; n > 3*count+10 { // the third is this test's own
		t.Errorf("%d goroutines", n)
	}
	runtime.GC()
	runtime.ReadMemStats(&stat)
	t.Logf("%d KB for each of %d containers", (stat.HeapAlloc+stat.StackInuse-heap)/count>>10, count)
	for i, p := range pipes {
		p.CloseChild()
		await(t, dones[i], nil)
	}
}

// BenchmarkCapture measures the payload that gets into the log.
func BenchmarkCapture(b *testing.B) {
	const megabytes = 200
	for b.Loop() {
		f, p := openLog(b, Options{MaxSize: 50 << 20, MaxFiles: 2}), newPipes(b)
		write(b, p, "megabytes", strconv.Itoa(megabytes))
		var before, after syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		if err := f.Capture(b.Context(), p); err != nil {
			b.Fatal(err)
		}
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
		b.ReportMetric(megabytes/cpu.Seconds(), "MB/cpu-s")
		b.SetBytes(megabytes * 1e6)
	}
}
