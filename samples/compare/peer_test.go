package compare

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is when a command is taken for hung.
const patience = 3 * time.Minute

// peer is one of the two engines, as a user has it: a command line and a socket.
type peer struct {
	name    string
	room    *room
	command []string // what stands in front of the arguments
	env     []string
	socket  string
	apart   bool // commands run in the room: they may have to start the engine
}

// result is how a command ended.
type result struct {
	line           string // the command
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return "$ " + r.line + "\n" + r.stdout + r.stderr + "exit code " + itoa(r.code)
}

// input is what a command is started with.
type input struct {
	dir   string
	stdin io.Reader
	env   []string
}

// run runs a command to its end.
func (p *peer) run(t testing.TB, args ...string) result {
	t.Helper()
	return p.runWith(t, input{}, args...)
}

func (p *peer) runWith(t testing.TB, in input, args ...string) result {
	t.Helper()
	r, err := p.try(t.Context(), in, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// must runs a command that has to succeed, and returns what it printed.
func (p *peer) must(t testing.TB, args ...string) string {
	t.Helper()
	r := p.run(t, args...)
	if r.code != 0 {
		t.Fatalf("%s: %s", p.name, r)
	}
	return r.stdout
}

// atEnd runs a command that has to succeed when the test has ended.
func (p *peer) atEnd(t testing.TB, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		// A test's own context is done by then.
		if r, err := p.try(context.WithoutCancel(t.Context()), input{}, args...); err != nil || r.code != 0 {
			t.Errorf("clean up: %s: %v", r, err)
		}
	})
}

// try runs a command to its end. An error is one of starting it, or of its hanging.
func (p *peer) try(ctx context.Context, in input, args ...string) (result, error) {
	command := append(append([]string{}, p.command...), args...)
	r := result{line: strings.Join(append([]string{p.name}, args...), " ")}
	if p.apart {
		dir := in.dir
		if dir == "" {
			dir = "/"
		}
		command = p.room.command(append([]string{"env", "-C", dir}, command...)...) // nsenter forgets where it was
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = in.dir, in.stdin, &stdout, &stderr
	cmd.Env = append(append(os.Environ(), p.env...), in.env...)
	err := cmd.Run()
	r.stdout, r.stderr = stdout.String(), stderr.String()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		return r, errors.Join(errors.New(r.String()), err, ctx.Err())
	}
	r.code = cmd.ProcessState.ExitCode()
	return r, nil
}
