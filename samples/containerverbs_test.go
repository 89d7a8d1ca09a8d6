package samples

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// anyContainer is a project with a container that ends with 7 when it is asked to, and one that answers what it reads.
const anyContainer = `
name: ct
services:
  web:
    image: busybox:latest
    command: sh -c 'trap "echo asked; exit 7" TERM; trap "exit 8" INT; echo out; echo err >&2; while :; do sleep 0.05; done'
    ports: ["127.0.0.1:8180:80", "127.0.0.1:8181:81", "127.0.0.1:8153:53/udp"]
    volumes: ["./held:/held"]
  echo: {image: busybox:latest, command: cat, stdin_open: true, init: true}
`

// What docker does with any container by its name or id: outputs, columns, messages and exit codes.
func TestContainerVerbs(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", anyContainer)
	s.write("held", "held\n")
	s.must("up", "-d")
	logged := func() error {
		if r := s.run("container", "logs", "ct-web-1"); r.stdout != "out\n" || r.stderr != "err\n" {
			return errors.New(r.String())
		}
		return nil
	}
	eventually(t, commandTimeout, logged) // from here on it listens to signals, too
	id := strings.TrimSpace(s.must("container", "ls", "-q", "--no-trunc", "--filter", "name=web"))
	short := id[:6]
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string // in them; "=" in front: they are this
	}{
		{"port ct-web-1", 0, "=53/udp -> 127.0.0.1:8153\n80/tcp -> 127.0.0.1:8180\n81/tcp -> 127.0.0.1:8181\n", "="},
		{"port " + short + " 80", 0, "=127.0.0.1:8180\n", "="},
		{"port ct-web-1 53/udp", 0, "=127.0.0.1:8153\n", "="},
		{"port ct-web-1 53", 1, "=", "=no public port '53' published for ct-web-1\n"},
		{"port ct-web-1 http", 1, "=", "invalid port (http)"},
		{"port ct-echo-1", 0, "=", "="},
		{"top " + short, 0, "UID                 PID", "="},
		{"top ct-echo-1 -o comm", 0, "COMMAND\n", "="},
		{"top nonesuch", 1, "=", "no such container: nonesuch"},
		{"stats --no-stream --format {{.Name}}:{{.PIDs}}", 0, "ct-web-1:", "="},
		{"stats --no-stream --format {{.Name}} ct-web-1 ct-echo-1", 0, "=ct-web-1\nct-echo-1\n", "="},
		{"stats --no-stream ct-web-1 nonesuch", 1, "=", "no such container: nonesuch"},
		{"exec ct-web-1 sh -c exit\t9", 9, "=", "="},
		{"exec -w /tmp -e A=b -u 1 ct-web-1 sh -c pwd;id\t-u;echo\t$A", 0, "=/tmp\n1\nb\n", "="},
		{"exec ct-web-1 nonesuch", 127, "=", "nonesuch"},
		{"cp compose.yaml ct-web-1:/held", 1, "=", "busy"},
		{"exec ct-web-1 cat /held", 0, "=held\n", "="}, // a file that is a mount is not taken away
		{"logs -n 0 ct-web-1", 0, "=", "="},
		{"logs nonesuch", 1, "=", "no such container: nonesuch"},
		{"inspect -f {{.Id}} ct-web-1", 0, "=" + id + "\n", "="},
		{"inspect -s -f {{.SizeRw}} ct-web-1", 0, "=0\n", "="},
		{"inspect nonesuch", 1, "=[]\n", "no such container: nonesuch"},
		{"ls --filter name=web --format {{.Names}}", 0, "=ct-web-1\n", "="},
		{"ls -n 1 -q", 0, "", "="},
		{"ls -s --format {{.Names}}={{.Size}} --filter name=web", 0, "=ct-web-1=0B (virtual ", "="},
		{"pause ct-web-1 nonesuch ct-echo-1", 1, "=ct-web-1\nct-echo-1\n", "=no such container: nonesuch\n"},
		{"pause ct-web-1", 1, "=", "container ct-web-1 is already paused"},
		{"attach ct-web-1", 1, "=", "cannot attach to a paused container, unpause it first"},
		{"start ct-web-1", 1, "=", "cannot start a paused container, try unpause instead"},
		{"unpause ct-web-1 ct-echo-1", 0, "=ct-web-1\nct-echo-1\n", "="},
		{"unpause ct-web-1", 1, "=", "is not paused"},
		{"rm ct-web-1", 1, "=", "container ct-web-1 is running: stop it first"},
		{"kill -s nonesuch ct-web-1", 1, "=", "nonesuch"},
		{"stop -s nonesuch ct-web-1", 1, "=", "nonesuch"},
		{"stop -s INT ct-web-1", 0, "=ct-web-1\n", "="},
		{"wait ct-web-1", 0, "=8\n", "="},
		{"kill ct-web-1", 1, "=", "it is not running"},
		{"attach ct-web-1", 1, "=", "cannot attach to a stopped container, start it first"},
		{"top ct-web-1", 1, "=", "is not running"},
		{"start -a ct-web-1 ct-echo-1", 1, "=", "cannot start and attach multiple containers at once"},
		{"start ct-web-1 ct-echo-1", 0, "=ct-web-1\nct-echo-1\n", "="},
		{"rm -f nonesuch", 0, "", "no such container: nonesuch"},
		{"run --cpu-count 1 busybox true", 1, "=", "--cpu-count is not supported yet"},
		{"start --checkpoint x ct-web-1", 1, "=", "--checkpoint is not supported yet"},
	} {
		args := []string{"container"}
		for _, a := range strings.Fields(strings.ReplaceAll(c.args, "\t", "\x00")) {
			args = append(args, strings.ReplaceAll(a, "\x00", " "))
		}
		r := s.run(args...)
		if r.code != c.code || !fits(r.stdout, c.stdout) || !fits(r.stderr, c.stderr) {
			t.Errorf("want exit code %d, %q and %q: %s", c.code, c.stdout, c.stderr, r)
		}
	}
	s.startsAttached(t)
}

// fits says whether a text has another in it, or is it, or begins with it where that ends with a blank.
func fits(text, want string) bool {
	whole, ok := strings.CutPrefix(want, "=")
	switch {
	case !ok:
		return strings.Contains(text, want)
	case strings.HasSuffix(whole, " "):
		return strings.HasPrefix(text, whole)
	}
	return text == whole
}

// startsAttached: who starts a container attached sees what this run says, its signals reach it, and its exit code is the
// command's. Who is attached to input is answered, and leaves the container alone.
func (s *site) startsAttached(t *testing.T) {
	s.must("container", "kill", "-s", "KILL", "ct-web-1")
	attached := s.start("container", "start", "-a", "ct-web-1")
	attached.until("out\n")
	eventually(t, commandTimeout, func() error { // before it is asked to end it has said everything
		if attached.stderr.String() != "err\n" {
			return errors.New("standard error: " + attached.stderr.String())
		}
		return nil
	})
	attached.signal(syscall.SIGTERM)
	if r := attached.wait(); r.code != 7 || r.stdout != "out\nasked\n" || r.stderr != "err\n" {
		t.Error(r)
	}
	if got := s.must("container", "ls", "-a", "--filter", "name=web", "--format", "{{.State}}"); got != "exited\n" {
		t.Errorf("after that it is %q", got)
	}
	s.must("container", "rm", "ct-web-1")
	if got := s.must("container", "ls", "-a", "--format", "{{.Names}}"); got != "ct-echo-1\n" {
		t.Errorf("there are %q", got)
	}
}

// A renamed container has its new name everywhere: for other containers, for the plan, after the engine's death and after
// its own end; what follows it goes on.
func TestRename(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("held", "held\n")
	s.write("compose.yaml", anyContainer+`
  side: {image: busybox:latest, command: sleep 1000, init: true, network_mode: "container:ct-web-1", profiles: [side]}
`)
	s.must("up", "-d")
	s.must("--profile", "side", "up", "-d")
	following := s.start("logs", "--follow", "web")
	following.until("out\n")
	s.must("container", "rename", "ct-web-1", "front")
	for _, c := range []struct{ from, to, want string }{
		{"front", "front", "renaming a container with the same name as its current name"},
		{"front", "ct-echo-1", `the container name "ct-echo-1" is already in use`},
		{"front", "a b", "invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"},
		{"ct-web-1", "x1", "no such container: ct-web-1"},
	} {
		if r := s.run("container", "rename", c.from, c.to); r.code != 1 || !strings.Contains(r.stderr, "failed to rename container named "+c.from+": ") || !strings.Contains(r.stderr, c.want) {
			t.Errorf("want %q: %s", c.want, r)
		}
	}
	holds := func(when string) {
		t.Helper()
		if got := s.must("ps", "--format", "{{.Name}}", "web"); got != "front\n" {
			t.Errorf("%s it is %q", when, got)
		}
		eventually(t, commandTimeout, func() error {
			if r := s.run("exec", "-T", "echo", "nslookup", "-type=a", "front"); r.code != 0 {
				return fmt.Errorf("%s: %s", when, r)
			}
			return nil
		})
		if r := s.run("exec", "-T", "echo", "nslookup", "-type=a", "ct-web-1"); r.code == 0 {
			t.Errorf("%s its old name is known: %s", when, r)
		}
		if r := s.run("up", "-d"); r.code != 0 || !strings.Contains(r.stderr, "front  Running") {
			t.Errorf("%s: %s", when, r)
		}
	}
	holds("renamed")
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	holds("after the engine's death")
	s.must("container", "restart", "-t", "0", "front")
	holds("started again")
	if r := following.wait(); r.code != 0 || !strings.Contains(r.stdout, "front exited with code 137") {
		t.Errorf("who followed its log: %s", r)
	}
	s.must("--profile", "side", "restart", "-t", "0", "side") // which means it by its old name
	if got := s.must("events", "--since", "1h", "--until", "0s", "--json"); !strings.Contains(got, `"oldName":"/ct-web-1"`) {
		t.Errorf("no event of it in %s", got)
	}
	s.must("container", "kill", "front")
	s.must("container", "rename", "front", "ct-web-1") // also of one that does not run
	if r := s.run("up", "-d"); r.code != 0 || !strings.Contains(r.stderr, "ct-web-1  Started") {
		t.Error(r)
	}
}
