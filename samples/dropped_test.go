package samples

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Several clients must see the same output from when they came; one that reads nothing, or goes, must not matter to the
// container nor to others; the end of one's input is not the end of a service's.
func TestSeveralAttached(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	for _, service := range []string{"echo", "quiet"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			s.must("up", "-d", service)
			asleep := s.command("attach", "--no-stdin", service)
			if _, err := asleep.StdoutPipe(); err != nil { // never read from
				t.Fatal(err)
			}
			if err := asleep.Start(); err != nil {
				t.Fatal(err)
			}
			gone := s.start("attach", "--no-stdin", service)
			first := s.attached(service)
			first.say("one")
			first.until("got one\n")
			second := s.attached(service)
			second.say("two")
			for _, c := range []*client{first, second} {
				c.until("got two\n")
			}
			if strings.Contains(second.out.String(), "one") {
				t.Errorf("who came later sees what was before: %q", second.out.String())
			}
			if err := gone.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			line := strings.Repeat("x", 4000)
			for range 100 { // more than the pipe of the one that does not read takes
				second.say(line)
			}
			second.say("three")
			first.until("got three\n")
			second.end()
			if code := second.wait(false); code != -1 {
				t.Errorf("the end of its input ended the client with %d", code)
			}
			first.say("four")
			first.until("got four\n")
			for _, c := range []*exec.Cmd{asleep, first.cmd, second.cmd} {
				_ = c.Process.Kill()
			}
			if state := s.must("ps", "--format", "{{.State}}", service); strings.TrimSpace(state) != "running" {
				t.Errorf("the container is %q after its clients were killed", state)
			}
			_ = asleep.Wait()
			_ = gone.cmd.Wait()
			gone.cancel()
			first.wait(true)
			second.wait(true)
		})
	}
}

// A client that is killed must harm nothing: the container goes on, or ends with its input as it was asked to, and the
// engine keeps nothing of the client.
func TestDroppedClients(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "sleeper", "echo", "shell")
	s.must("exec", "-T", "sleeper", "true")
	s.settle()
	before := s.descriptors()
	for _, args := range [][]string{
		{"run", "-T", "--name", "dropped", "sleeper", "sh", "-c", "echo begun; exec sleep 1000"},
		{"run", "-T", "--name", "fed", "--rm", "sleeper", "sh", "-c", "echo begun; exec cat"}, // ends with its input
		{"attach", "echo"},
		{"attach", "--no-stdin", "echo"},
		{"exec", "-T", "sleeper", "sh", "-c", "echo begun; exec sleep 2"},
	} {
		c := s.talking(args...)
		if args[0] == "attach" {
			s.mustConnect(c)
		} else {
			c.until("begun\n")
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.wait(true)
	}
	x := s.onTerminal(80, 24, "attach", "shell")
	x.types("echo $((1+1))\n")
	x.until("2\r\n")
	if err := x.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-x.ended
	eventually(t, commandTimeout, func() error {
		if ls := s.must("container", "ls", "-a", "--format", "{{.Names}}"); strings.Contains(ls, "fed") {
			return errors.New("the container whose input has ended is still there: " + ls)
		}
		return nil
	})
	want := []string{"dropped", "streams-echo-1", "streams-shell-1", "streams-sleeper-1"}
	if got := s.names("container", "ls", "--format", "{{.Names}}\n"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("running are %v, want %v", got, want)
	}
	s.must("-p", "streams", "down", "--remove-orphans", "-t", "0")
	s.must("up", "-d", "sleeper", "echo", "shell")
	eventually(t, commandTimeout, func() error {
		if now := s.descriptors(); now > before {
			return fmt.Errorf("the engine has %d descriptors open, %d before:\n%s", now, before, s.onHost(fmt.Sprintf("ls -l /proc/%d/fd || true", s.engine())))
		}
		return nil
	})
}

// The engine's death must cost an attached client nothing: output goes on where it broke off, and the exit code comes.
func TestEngineKilledWhileAttached(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	const lines = 3000
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; [ $((i %% 10)) -ne 0 ] || usleep 10000; done; exit 6`, lines)
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	// Those who follow a log lose and double nothing either.
	const errorLines = `i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i; [ $((i % 10)) -ne 0 ] || { echo error $i >&2; usleep 10000; }; done`
	s.must("run", "-d", "--no-deps", "--name", "logged", "-T", "sleeper", "sh", "-c", errorLines)
	s.onTerminal(80, 24, "run", "-d", "--no-deps", "--name", "drawn", "sleeper", "sh", "-c", errorLines).wait()
	logs := map[string]*running{"false": s.start("container", "logs", "-f", "logged"), "true": s.start("container", "logs", "-f", "-n", "10000", "drawn")}
	for _, c := range logs {
		c.until("line 1")
	}
	for _, rm := range []string{"--rm", "--no-deps"} {
		r := s.start("run", rm, "-T", "sleeper", "sh", "-c", script)
		r.until("line 100\n")
		for range 3 {
			if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			s.must("ls") // waits for the next one
		}
		e := r.wait()
		if e.code != 6 || e.stdout != want.String() {
			t.Errorf("run %s: exit code %d, want 6; the output differs:\n%s%s", rm, e.code, difference(want.String(), e.stdout), e.stderr)
		}
	}
	var out, both, failed strings.Builder
	for i := 1; i <= 1000; i++ {
		fmt.Fprintf(&out, "line %d\n", i)
		fmt.Fprintf(&both, "line %d\r\n", i)
		if i%10 == 0 {
			fmt.Fprintf(&failed, "error %d\n", i)
			fmt.Fprintf(&both, "error %d\r\n", i)
		}
	}
	for tty, c := range logs {
		wantOut, wantErr := out.String(), failed.String()
		if tty == "true" {
			wantOut, wantErr = both.String(), ""
		}
		if e := c.wait(); e.code != 0 || e.stdout != wantOut || e.stderr != wantErr {
			t.Errorf("the log, terminal: %s: exit code %d; the output differs:\n%s%s", tty, e.code, difference(wantOut, e.stdout), difference(wantErr, e.stderr))
		}
	}
	eventually(t, commandTimeout, func() error {
		if n := len(s.names("ps", "-a", "--format", "{{.Name}}\n")); n != 3 {
			return fmt.Errorf("%d containers are left, want those without --rm", n)
		}
		return nil
	})
}
