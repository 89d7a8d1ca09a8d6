package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/runtime/logs"
)

// server is a syslog server on a socket, and a shipper of a log to it.
func server(t *testing.T, content string) (net.PacketConn, *Shipper) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tutti-ship-") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open(path, logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	socket := filepath.Join(dir, "syslog")
	conn, err := net.ListenPacket("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, &Shipper{
		Target: Target{Driver: "syslog", Options: map[string]string{"syslog-address": "unixgram://" + socket}, Tag: "test"},
		Log:    log, Position: filepath.Join(dir, "shipped"), Logger: slog.New(slog.DiscardHandler),
	}
}

// A container ends in the middle of a batch of lines, which have one time and of which a part has been sent: each line is
// sent once all the same, over three shippers, the last of which finds nothing to do.
func TestBatchIsSentOnce(t *testing.T) {
	t.Parallel()
	const lines = 6000
	var content strings.Builder
	for i := range lines {
		fmt.Fprintf(&content, `{"log":"line %d %s\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}`+"\n", i, strings.Repeat("x", 100))
	}
	conn, s := server(t, content.String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make([]int, lines)
	received := make(chan struct{})
	go func() {
		defer close(received)
		buf := make([]byte, 64<<10)
		for n := 0; ; n++ {
			size, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n == 0 {
				cancel()
			}
			_, text, _ := strings.Cut(string(buf[:size]), ": line ")
			var i int
			if _, err := fmt.Sscan(text, &i); err != nil || i >= lines {
				if strings.Contains(string(buf[:size]), "that is all") {
					return
				}
				t.Errorf("received %q", buf[:size])
				continue
			}
			seen[i]++
		}
	}()
	if err := s.Run(ctx, true); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range 2 {
		if err := s.Run(t.Context(), false); err != nil {
			t.Error(err)
		}
	}
	to, err := s.Target.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := to.send(message{at: time.Now(), text: []byte("that is all")}); err != nil {
		t.Error(err)
	}
	if err := to.close(); err != nil {
		t.Error(err)
	}
	<-received
	for i, n := range seen {
		if n != 1 {
			t.Fatalf("line %d came %d times", i, n)
		}
	}
}

// What earlier versions have written down says that all lines of that time have been sent.
func TestPosition(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	path := filepath.Join(t.TempDir(), "shipped")
	read := func(want time.Time, sent int) {
		t.Helper()
		p, err := openPosition(path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		if !p.at.Equal(want) || p.sent != sent {
			t.Errorf("%s, %d, want %s, %d", p.at, p.sent, want, sent)
		}
	}
	read(time.Time{}, 0)
	for _, c := range []struct {
		text string
		at   time.Time
		sent int
	}{
		{"2026-01-02T03:04:05.000000006Z", at, 0},
		{"2026-01-02T03:04:05.000000006Z 0000000012", at, 12},
		{"2026-01-02T03:04:05.000000006Z 00000", time.Time{}, 0}, // torn: from the beginning
		{"2026-01-02T03:04:05.000000006Z -000000012", time.Time{}, 0},
		{"2026-01-02", time.Time{}, 0},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		read(c.at, c.sent)
	}
}
