package samples

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// command is a command of tutti's that has not begun, for streams of one's own.
func (s *site) command(args ...string) *exec.Cmd {
	command := append([]string{binary(s.t), "--root", s.root}, args...)
	if s.host != nil {
		command = s.host.command(s.dir, command)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = s.dir, append(append(os.Environ(), "COMPOSE_ANSI=never"), s.environ...)
	return cmd
}

// client is an attached command with an input that is written to piece by piece.
type client struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   lockedBuffer
	ended chan error
}

func (s *site) attached(service string) *client {
	s.t.Helper()
	return s.talking("attach", service)
}

// talking starts a command whose input is open.
func (s *site) talking(args ...string) *client {
	s.t.Helper()
	c := &client{t: s.t, cmd: s.command(args...), ended: make(chan error, 1)}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	return c
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) end() { _ = c.in.Close() }

func (c *client) until(text string) {
	c.t.Helper()
	eventually(c.t, commandTimeout, func() error {
		if out := c.out.String(); !strings.Contains(out, text) {
			return fmt.Errorf("no %q, but %d bytes that end in %q", text, len(out), out[max(0, len(out)-200):])
		}
		return nil
	})
}

// wait returns the exit code; without patience -1 when the command has not ended after a moment.
func (c *client) wait(patient bool) int {
	c.t.Helper()
	moment := time.After(200 * time.Millisecond)
	if patient {
		moment = time.After(commandTimeout)
	}
	select {
	case <-c.ended:
		c.ended <- nil
		return c.cmd.ProcessState.ExitCode()
	case <-moment:
		if patient {
			c.t.Fatalf("%v has not ended: %s", c.cmd.Args, c.out.String())
		}
		return -1
	}
}

// names are the lines that a command prints, sorted.
func (s *site) names(args ...string) []string {
	s.t.Helper()
	return sortedFields(s.must(args...))
}

func sortedFields(text string) []string {
	all := strings.Fields(text)
	slices.Sort(all)
	return all
}

// mustConnect waits until a client of the service echo is attached: it hears what another one says.
func (s *site) mustConnect(c *client) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		if r := s.run("exec", "-T", "echo", "sh", "-c", "echo knock > /proc/1/fd/1"); r.code != 0 {
			return errors.New(r.String())
		}
		if !strings.Contains(c.out.String(), "knock") {
			return errors.New("nothing heard: " + c.out.String())
		}
		return nil
	})
}

// descriptors counts what the engine has open, without pipes of which it has both ends: it keeps some for later.
func (s *site) descriptors() int {
	s.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", s.engine())
	l, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	open := map[string]int{}
	ends := map[string]os.FileMode{}
	for _, d := range l {
		what, err := os.Readlink(dir + d.Name())
		info, statErr := os.Lstat(dir + d.Name())
		if err != nil || statErr != nil {
			continue // closed meanwhile
		}
		if !strings.HasPrefix(what, "pipe:") {
			what = "other"
		}
		open[what]++
		ends[what] |= info.Mode() & 0o600 // of the link: how it is open
	}
	n := 0
	for what, count := range open {
		if what == "other" || ends[what] != 0o600 {
			n += count
		}
	}
	return n
}

// settle waits until the engine has had as many descriptors open for a second.
func (s *site) settle() {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		a := s.descriptors()
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			if b := s.descriptors(); a != b {
				return fmt.Errorf("%d descriptors, then %d", a, b)
			}
		}
		return nil
	})
}
