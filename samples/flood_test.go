package samples

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A container that writes as fast as it can must lose no line, and must not keep another one's lines from being logged.
func TestFlood(t *testing.T) {
	t.Parallel()
	const lines = 500_000 // of 100 bytes
	s := newBusyboxSite(t)
	s.write("compose.yaml", fmt.Sprintf(`
services:
  flood:
    image: busybox:latest
    command: ["sh", "-c", "awk 'BEGIN{for(i=0;i<%d;i++) printf \"%%08d %%090d\\n\", i, i}'"]
  quiet:
    image: busybox:latest
    stop_grace_period: 0s
    command: ["sh", "-c", "while :; do echo tick; usleep 20000; done"]
`, lines))
	s.must("up", "-d", "quiet")
	s.must("up", "-d", "flood")
	// Followed while it is written: what is shown is what was written, once and in order.
	command := s.host.command(s.dir, []string{binary(t), "--root", s.root, "logs", "--follow", "--no-log-prefix", "flood"})
	cmd := exec.Command(command[0], command[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	next := 0
	scanner := bufio.NewScanner(out)
	for scanner.Scan() && next < lines {
		if want := fmt.Appendf(nil, "%08d %090d", next, next); !bytes.Equal(scanner.Bytes(), want) {
			t.Fatalf("line %d is %q", next, scanner.Bytes())
		}
		next++
	}
	if next < lines {
		t.Errorf("%d lines of %d, %v", next, lines, scanner.Err())
	}
	for scanner.Scan() { // that it has exited
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	// The other one is logged while the flood is: how often depends on what else the machine does.
	first := s.record("flood").State.Started
	stamps := strings.Fields(s.must("logs", "--timestamps", "--no-log-prefix", "--tail", "1", "flood"))
	end, err := time.Parse(time.RFC3339Nano, stamps[0])
	if err != nil {
		t.Fatal(err)
	}
	ticks := 0
	for line := range strings.Lines(s.must("logs", "--timestamps", "--no-log-prefix", "quiet")) {
		stamp, _, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			t.Fatal(err)
		}
		if at.After(first) && at.Before(end) {
			ticks++
		}
	}
	if ticks < 5 {
		t.Errorf("%d lines of the other container in a flood of %v", ticks, end.Sub(first))
	}
}
