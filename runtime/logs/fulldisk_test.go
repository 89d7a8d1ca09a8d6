package logs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestFullDiskDrops: on a disk that stays full the container goes on, what is dropped is counted, and the log says so once
// there is room.
func TestFullDiskDrops(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	f, err := Open(filepath.Join(dir, "log"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := newPipes(t)
	out, err := os.OpenFile(procPath(int(p.Stdout.Fd())), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := startCapture(t, f, p)
	if err := p.CloseChild(); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	_ = os.WriteFile(ballast, make([]byte, 8<<20), 0o600) // as much as there is room for
	const line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"
	written := 0
	for range 16 << 10 { // 1 MB, more than the pipe takes: ends only because output is dropped
		n, err := out.WriteString(line)
		if err != nil {
			t.Fatal(err)
		}
		written += n
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var notice, logged, dropped int
	told := regexp.MustCompile(`tutti: (\d+) bytes of output were dropped, for the disk was full`)
	for deadline := time.Now().Add(time.Minute); notice == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the log does not say that output was dropped")
		}
		n, err := out.WriteString(line)
		if err != nil {
			t.Fatal(err)
		}
		written += n
		for _, l := range lines(t, f, ReadOptions{Tail: -1}) {
			if told.MatchString(l) {
				notice++
			}
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, done, nil)
	for _, l := range lines(t, f, ReadOptions{Tail: -1}) {
		if m := told.FindStringSubmatch(l); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			dropped += n
			continue
		}
		logged += len(l) - len("o:") + len("\n")
	}
	// A batch may end within a line; the pieces then count as lines of their own.
	if got := logged + dropped; got < written || got > written+64 {
		t.Errorf("%d bytes logged and %d dropped, %d written", logged, dropped, written)
	}
}
