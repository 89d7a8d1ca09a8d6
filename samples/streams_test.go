package samples

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// streams is a project for those who connect to its containers.
const streams = `
name: streams
services:
  sleeper: {image: "busybox:latest", command: sleep 100000, network_mode: none, stop_grace_period: 0s}
  shell: {image: "busybox:latest", command: sh, tty: true, stdin_open: true, network_mode: none, stop_grace_period: 0s}
  echo: {image: "busybox:latest", command: "sh -c 'while read l; do echo got $$l; echo careful >&2; done; exit 5'", stdin_open: true, network_mode: none, stop_grace_period: 0s}
  quiet: {image: "busybox:latest", command: "sh -c 'while read l; do echo got $$l; done'", stdin_open: true, network_mode: none, logging: {driver: none}, stop_grace_period: 0s}
  talker:
    image: busybox:latest
    network_mode: none
    stop_grace_period: 0s
    command: sh -c 'trap "echo hup" HUP; trap "echo bye; exit 3" TERM; trap "echo int" INT; echo ready; while :; do usleep 20000; done'
`

func newStreamsSite(t *testing.T) *site {
	t.Helper()
	s := newBusyboxSite(t)
	s.write("compose.yaml", streams)
	return s
}

// A command on a terminal must get a terminal: its size, the changes of that, every key, and its exit code passed on.
func TestTerminalOfExecAndRun(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "sleeper")
	for name, args := range map[string][]string{
		"exec": {"exec", "-it", "sleeper", "sh"}, "run": {"run", "--rm", "-it", "sleeper", "sh"}, "exec by default": {"exec", "sleeper", "sh"},
		"run by default": {"run", "--rm", "sleeper", "sh"},
	} {
		t.Run(name, func(t *testing.T) {
			x := s.in(t).onTerminal(101, 33, args...)
			x.types("stty size; tty; echo $TERM\n")
			x.until("33 101\r\n")
			x.until("/dev/pts/")
			x.until("xterm\r\n")
			x.resize(77, 22)
			x.asks("stty size", "22 77\r\n") // more than once, until the signal has arrived
			x.types(`sh -c 'trap "echo interrupted $((40+2)); exit" INT; echo waiting $((6*7)); while :; do usleep 50000; done'` + "\n")
			x.until("waiting 42\r\n")
			x.types("\x03")
			x.until("interrupted 42\r\n")
			x.types("exit 9\n")
			if code := x.wait(); code != 9 {
				t.Errorf("exit code %d, want 9: %s", code, x.shown.String())
			}
		})
	}
	s.must("down", "-t", "0")
	s.mustBeEmpty("streams")
}

// attach must be the terminal of a container that is started without one, and leave it with its keys.
func TestTerminalOfAttach(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "shell")
	x := s.onTerminal(90, 30, "attach", "shell")
	x.asks("stty size", "30 90\r\n")
	x.types("\x10\x11")
	if code := x.wait(); code != 0 {
		t.Errorf("detached with exit code %d: %s", code, x.shown.String())
	}
	if state := s.must("ps", "--format", "{{.State}}", "shell"); strings.TrimSpace(state) != "running" {
		t.Fatalf("after detaching the container is %q", state)
	}
	x = s.onTerminal(80, 24, "attach", "--detach-keys", "ctrl-a,x", "shell")
	x.types("stty -ixon; echo set $((1+1)); cat -v\n")
	x.until("set 2\r\n")
	x.types("p\x10\x11q\n") // the default keys mean nothing now
	x.until("p^P^Qq\r\np^P^Qq\r\n")
	x.types("\x03\x01x")
	if code := x.wait(); code != 0 {
		t.Errorf("detached with exit code %d: %s", code, x.shown.String())
	}
	x = s.onTerminal(80, 24, "attach", "shell")
	x.types("exit 4\n")
	if code := x.wait(); code != 4 {
		t.Errorf("exit code %d, want 4: %s", code, x.shown.String())
	}
}

// What is typed before the keys that detach must reach the process, however soon the client is gone.
func TestTypedBeforeDetaching(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "shell")
	const rounds = 10
	for range rounds {
		x := s.onTerminal(90, 30, "attach", "shell")
		x.asks("stty size", "30 90\r\n")
		x.types("echo heard >>/tmp/words\n\x10\x11")
		if code := x.wait(); code != 0 {
			t.Errorf("detached with exit code %d: %s", code, x.shown.String())
		}
	}
	eventually(t, commandTimeout, func() error {
		if n := strings.Count(s.run("exec", "-T", "shell", "cat", "/tmp/words").stdout, "heard"); n != rounds {
			return fmt.Errorf("of %d lines that were typed the shell got %d", rounds, n)
		}
		return nil
	})
}

// Detaching from run and exec must leave what runs alone.
func TestDetachKeys(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "sleeper")
	x := s.onTerminal(80, 24, "run", "--name", "left", "-it", "sleeper", "sh")
	x.types("echo begun $((1+1))\n")
	x.until("begun 2")
	x.types("\x10\x11")
	if code := x.wait(); code != 0 {
		t.Errorf("run: detached with exit code %d: %s", code, x.shown.String())
	}
	if ls := s.must("container", "ls", "--format", "{{.Names}}"); !strings.Contains(ls, "left") {
		t.Errorf("the container does not run any more: %s", ls)
	}
	x = s.onTerminal(80, 24, "exec", "--detach-keys", "q", "sleeper", "sh", "-c", "echo begun; touch /begun; sleep 3; touch /ended; sleep 1000")
	x.until("begun")
	x.types("q")
	if code := x.wait(); code != 0 {
		t.Errorf("exec: detached with exit code %d: %s", code, x.shown.String())
	}
	eventually(t, commandTimeout, func() error {
		if r := s.run("exec", "-T", "sleeper", "test", "-e", "/ended"); r.code != 0 {
			return fmt.Errorf("the process has not gone on: %s", r)
		}
		return nil
	})
	s.must("down", "--remove-orphans", "-t", "0")
}

// What commands end with, and what they say, when something is wrong.
func TestExitCodesOfStreams(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "sleeper")
	s.write("restarting.yaml", "name: streams2\nservices:\n  again: {image: \"busybox:latest\", command: \"false\", restart: always}\n")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"run --rm -T sleeper true", 0, ""},
		{"run --rm -T sleeper sh -c exit${IFS}7", 7, ""},
		{"run --rm -T sleeper sh -c kill${IFS}-9${IFS}$$;sleep${IFS}1", 0, ""}, // the first process is immune to itself
		{"run --rm -T sleeper no-such-program", 127, "executable file not found"},
		{"run --rm -T sleeper /etc/passwd", 126, "permission denied"},
		{"run --rm -T sleeper /etc", 126, ""},
		{"run --rm -T -w /etc/passwd sleeper true", 1, "/etc/passwd"},
		{"run --rm -T -u nobody-there sleeper true", 1, "nobody-there"},
		{"run --rm -T nothing true", 1, "no such service: nothing"},
		{"run --rm -P -p 80 sleeper true", 1, "--service-ports and --publish are incompatible"},
		{"run --rm -l novalue sleeper true", 1, "label must be set as KEY=VALUE"},
		{"run --rm -v relative:x:y:z sleeper true", 1, "--volume"},
		{"run --rm --pull sometimes sleeper true", 1, "invalid --pull option"},
		{"exec -T sleeper sh -c kill${IFS}-9${IFS}$$", 137, ""},
		{"exec -T sleeper sh -c kill${IFS}-15${IFS}$$", 143, ""},
		{"exec -T sleeper no-such-program", 127, "executable file not found"},
		{"exec -T sleeper /etc/passwd", 126, "permission denied"},
		{"exec -T shell true", 1, `service "shell" is not running`},
		{"exec -T --index 7 sleeper true", 1, `service "sleeper" is not running container #7`},
		{"attach shell", 1, `service "shell" is not running`},
		{"attach --index 3 sleeper", 1, `service "sleeper" is not running container #3`},
		{"exec --detach-keys shift-a -it sleeper true", 1, ""},
	} {
		r := s.run(strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("exit code %d, want %d and %q: %s", r.code, c.code, c.says, r)
		}
	}
	s.must("-f", "restarting.yaml", "up", "-d")
	eventually(t, commandTimeout, func() error {
		for _, verb := range []string{"exec -T", "attach"} {
			args := append([]string{"-f", "restarting.yaml"}, strings.Fields(verb+" again")...)
			if verb != "attach" {
				args = append(args, "true")
			}
			if r := s.run(args...); r.code != 1 || !strings.Contains(r.stderr, "restarting") || !strings.Contains(r.stderr, "wait until") {
				return fmt.Errorf("exit code %d: %s", r.code, r)
			}
		}
		return nil
	})
	s.must("-f", "restarting.yaml", "down", "-t", "0")
	s.must("down", "-t", "0")
	s.mustBeEmpty("streams")
}

// large is much more than pipes and sockets hold.
const large = 50 << 20

// Whatever is piped in must come out, byte by byte, and its end must be the end of the process's input.
func TestPipedInput(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	s.must("up", "-d", "sleeper")
	for name, args := range map[string][]string{
		"run": {"run", "--rm", "-T", "sleeper", "cat"}, "exec": {"exec", "-T", "sleeper", "cat"},
		"run without a log": {"run", "--rm", "-T", "quiet", "cat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			sent, got := sha256.New(), sha256.New()
			cmd := s.command(args...)
			cmd.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), large), sent)
			counted := &counter{w: got}
			cmd.Stdout = counted
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			if counted.n != large || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Errorf("%d bytes came back of %d, or others: %s", counted.n, large, stderr.String())
			}
		})
	}
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.w.Write(b)
}

// Signals to the command must reach the process, unless it is told not to pass them on.
func TestSignalsAreProxied(t *testing.T) {
	t.Parallel()
	s := newStreamsSite(t)
	t.Run("run", func(t *testing.T) {
		r := s.in(t).start("run", "--rm", "-T", "talker")
		r.until("ready\n")
		r.signal(syscall.SIGHUP)
		r.until("hup\n")
		r.signal(syscall.SIGINT)
		r.until("int\n")
		r.signal(syscall.SIGTERM)
		r.until("bye\n")
		if e := r.wait(); e.code != 3 {
			t.Errorf("exit code %d, want the container's 3: %s", e.code, e)
		}
	})
	t.Run("attach", func(t *testing.T) {
		s := s.in(t)
		s.must("up", "-d", "talker")
		alone := s.talking("attach", "--sig-proxy=false", "talker")
		r := s.talking("attach", "--no-stdin", "talker")
		eventually(t, commandTimeout, func() error { // both are attached when both hear it
			s.must("kill", "-s", "HUP", "talker")
			if !strings.Contains(r.out.String(), "hup") || !strings.Contains(alone.out.String(), "hup") {
				return errors.New("nothing heard yet")
			}
			return nil
		})
		if err := alone.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := alone.wait(true); code != 130 {
			t.Errorf("--sig-proxy=false: exit code %d, want 130: %s", code, alone.out.String())
		}
		if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := r.wait(true); code != 3 || !strings.HasSuffix(r.out.String(), "bye\n") || strings.Contains(r.out.String(), "int") {
			t.Errorf("exit code %d, want the container's 3: %s", code, r.out.String())
		}
	})
	t.Run("deaf", func(t *testing.T) {
		r := s.in(t).start("run", "--name", "deaf", "-T", "talker", "sh", "-c", "trap '' INT; echo ready; exec sleep 1000")
		r.until("ready\n")
		ended := make(chan result, 1)
		go func() { ended <- r.wait() }()
		var e result
		for e.command == "" {
			r.signal(syscall.SIGINT)
			select {
			case e = <-ended:
			case <-time.After(100 * time.Millisecond): // signals of one kind that come at once are one
			}
		}
		if e.code != 1 || !strings.Contains(e.stderr, "forcefully exiting") {
			t.Errorf("exit code %d: %s", e.code, e)
		}
	})
}

// run must heed its flags, start what the service depends on first, and stay apart from the containers of up.
func TestRunOneOff(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("env", "FROM_FILE=file\nBOTH=file\n")
	s.write("here/file", "from the host\n")
	s.write("compose.yaml", `
name: oneoff
services:
  db:
    image: busybox:latest
    command: sh -c 'touch /ready; exec sleep 1000'
    healthcheck: {test: test -e /ready, interval: 1s, start_period: 5s, start_interval: 50ms}
    stop_grace_period: 0s
  job: {image: "busybox:latest", command: "sh -c 'echo migrated > /data/state'", volumes: ["data:/data"]}
  app:
    image: busybox:latest
    command: cat /data/state
    environment: {COLOUR: blue}
    volumes: ["data:/data"]
    ports: ["8070:80"]
    restart: always
    depends_on: {db: {condition: service_healthy}, job: {condition: service_completed_successfully}}
  tool: {image: "busybox:latest", command: echo tool, profiles: [tools]}
  broken: {image: "busybox:latest", command: "true", depends_on: {fails: {condition: service_completed_successfully}}}
  fails: {image: "busybox:latest", command: sh -c 'echo no luck; exit 4'}
volumes: {data: {}}
`)
	if r := s.run("run", "--rm", "app"); r.code != 0 || r.stdout != "migrated\n" || !strings.Contains(r.stderr, "Container oneoff-db-1  Healthy") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	for _, c := range []struct{ args, want string }{
		{"run --rm app echo again", "again\n"},
		{"run --rm --no-deps -e COLOUR=red -e EXTRA=1 app sh -c echo${IFS}$COLOUR$EXTRA", "red1\n"},
		{"run --rm --no-deps --env-from-file env -e BOTH=flag app sh -c echo${IFS}$FROM_FILE$BOTH$COLOUR", "fileflagblue\n"},
		{"run --rm --no-deps -u 1000:1001 -w /tmp app sh -c id${IFS}-u;id${IFS}-g;pwd", "1000\n1001\n/tmp\n"},
		{"run --rm --no-deps -v ./here:/here:ro app cat /here/file", "from the host\n"},
		{"run --rm --no-deps --entrypoint echo app x y", "x y\n"},
		{"run --rm --no-deps --cap-drop ALL --cap-add NET_RAW app grep CapEff /proc/self/status", "CapEff:\t0000000000002000\n"},
		{"run --rm tool", "tool\n"},
		{"run --rm --quiet tool echo quiet", "quiet\n"},
		{"run --rm --no-deps app sh -c nslookup${IFS}app>/dev/null&&echo${IFS}known||echo${IFS}unknown", "unknown\n"},
		{"run --rm --no-deps --use-aliases app sh -c nslookup${IFS}app>/dev/null&&echo${IFS}known||echo${IFS}unknown", "known\n"},
	} {
		if r := s.run(strings.Fields(c.args)...); r.code != 0 || r.stdout != c.want {
			t.Errorf("exit code %d, want output %q: %s", r.code, c.want, r)
		}
	}
	if r := s.run("run", "--rm", "broken"); r.code != 1 || !strings.Contains(r.stderr, "exit 4") || !strings.Contains(r.stderr, "no luck") {
		t.Errorf("a failing dependency: exit code %d: %s", r.code, r)
	}
	id := strings.TrimSpace(s.must("run", "-d", "--name", "web", "--service-ports", "-l", "mark=here", "app", "sh", "-c", "echo hello > /index.html; exec httpd -f -p 80 -h /"))
	if len(id) != 64 {
		t.Errorf("run -d prints %q, want an id", id)
	}
	if r := s.run("run", "-d", "--name", "web", "--no-deps", "app", "true"); r.code != 1 || !strings.Contains(r.stderr, `"web" is already in use`) {
		t.Errorf("a name that is taken: exit code %d: %s", r.code, r)
	}
	eventually(t, commandTimeout, func() error {
		if got, err := s.host.get(s.host.neighbour, hostAddress+":8070"); got != "hello" {
			return fmt.Errorf("the published port answers %q, %v", got, err)
		}
		return nil
	})
	if got := s.names("ps", "--format", "{{.Name}}\n"); strings.Join(got, " ") != "oneoff-db-1" {
		t.Errorf("ps shows %v, want what up has made", got)
	}
	if got := strings.TrimSpace(s.must("ps", "-a", "--format", `{{.Label "com.docker.compose.oneoff"}} {{.Label "mark"}}`, "app")); got != "True here" {
		t.Errorf("the labels are %q", got)
	}
	s.must("run", "--no-deps", "app", "true")
	kept := s.names("ps", "-a", "--format", "{{.Name}}\n", "app")
	if len(kept) != 2 || !regexp.MustCompile(`^oneoff-app-run-[0-9a-f]{12}$`).MatchString(kept[0]) {
		t.Errorf("containers of run: %v, want web and oneoff-app-run-...", kept)
	}
	if logs := s.must("logs", "--no-log-prefix", "app"); logs != "" {
		t.Errorf("logs shows what run has printed: %q", logs)
	}
	s.must("down", "-v", "--remove-orphans", "-t", "0")
	s.mustBeEmpty("oneoff")
}
