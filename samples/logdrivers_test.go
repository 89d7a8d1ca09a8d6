package samples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// daemon runs a program on the site's machine until the test ends.
func (s *site) daemon(command ...string) *exec.Cmd {
	s.t.Helper()
	command = s.host.command(s.dir, command)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// rsyslog starts a syslog server that listens on TCP and UDP port 5514 and writes to the file that it returns.
func (s *site) rsyslog() (file string, cmd *exec.Cmd) {
	s.t.Helper()
	file = filepath.Join(s.dir, "syslog.out")
	s.write("rsyslog.conf", `
module(load="imtcp") module(load="imudp")
input(type="imtcp" port="5514" address="127.0.0.1") input(type="imudp" port="5514" address="127.0.0.1")
template(name="all" type="string" string="%PRI% %syslogtag% %HOSTNAME% %msg:::drop-last-lf%\n")
action(type="omfile" file="`+file+`" template="all")
`)
	cmd = s.daemon("rsyslogd", "-n", "-f", filepath.Join(s.dir, "rsyslog.conf"), "-iNONE")
	eventually(s.t, commandTimeout, func() error {
		return exec.Command("nsenter", append([]string{"--target", fmt.Sprint(s.host.pid), "--net", "--"}, "sh", "-c", "ss -ltn | grep -q :5514 && ss -lun | grep -q :5514")...).Run()
	})
	return file, cmd
}

// What a container logs must reach the syslog server in order, with severity, tag and facility as docker sends them; a
// server that is away for a while must get what was written meanwhile; and `logs` must show it all.
func TestSyslogDriver(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  tcp:
    image: busybox:latest
    stop_grace_period: 0s
    command: ["sh", "-c", "for i in $$(seq 300); do echo line $$i; done; sleep 0.2; echo bad news >&2; read line < /go; for i in $$(seq 301 600); do echo line $$i; done; printf 'no newline'; sleep 1000"]
    volumes: ["./fifo:/go"]
    logging: {driver: syslog, options: {syslog-address: "tcp://127.0.0.1:5514", syslog-format: rfc5424micro, syslog-facility: local3, tag: "{{.Name}}/{{.ImageName}}"}}
  udp:
    image: busybox:latest
    command: [echo, from udp]
    logging: {driver: syslog, options: {syslog-address: "udp://127.0.0.1:5514"}}
  last: # in one write, and read long before it ends
    image: busybox:latest
    command: [sh, -c, "printf 'whole\nunfinished'; sleep 1"]
    logging: {driver: syslog, options: {syslog-address: "tcp://127.0.0.1:5514", tag: last}}
`)
	if err := syscall.Mkfifo(filepath.Join(s.dir, "fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	if r := s.run("up", "-d"); r.code == 0 || !strings.Contains(r.stderr, `service "tcp"`) || !strings.Contains(r.stderr, "failed to initialize logging driver") {
		t.Errorf("without a server: %s", r)
	}
	s.must("down", "-t", "0")

	file, server := s.rsyslog()
	s.must("up", "-d")
	const prefix = "project-tcp-1/busybox:latest"
	received := func(want int) []string {
		t.Helper()
		var lines []string
		eventually(t, commandTimeout, func() error {
			lines = nil
			text, err := os.ReadFile(file)
			for line := range strings.Lines(string(text)) {
				if strings.Contains(line, prefix) {
					lines = append(lines, strings.TrimSpace(line))
				}
			}
			if err == nil && len(lines) < want {
				err = fmt.Errorf("%d messages of %d: %s", len(lines), want, text)
			}
			return err
		})
		return lines
	}
	before, bad := received(301), ""
	before = slices.DeleteFunc(before, func(line string) bool { // the order of the two streams is left open
		isBad := strings.HasSuffix(line, "bad news")
		if isBad {
			bad = line
		}
		return isBad
	})
	for i, line := range before[:300] {
		// local3 is 19, info 6, err 3: 19*8+6 = 158
		if want := fmt.Sprintf("line %d", i+1); !strings.HasSuffix(line, want) || !strings.HasPrefix(line, "158 "+prefix) {
			t.Fatalf("message %d is %q", i+1, line)
		}
	}
	if !strings.HasPrefix(bad, "155 ") {
		t.Errorf("stderr: %q", bad)
	}
	eventually(t, commandTimeout, func() error { // the default facility is daemon (3), the tag the short id
		text, err := os.ReadFile(file)
		if err == nil && !strings.Contains(string(text), "30 "+strings.TrimSpace(s.must("ps", "-a", "-q", "udp"))[:12]) {
			err = fmt.Errorf("no message over UDP in %s", text)
		}
		return err
	})
	eventually(t, commandTimeout, func() error {
		text, err := os.ReadFile(file)
		if got := regexp.MustCompile(`(?m)^30 last.* (\w+)$`).FindAllStringSubmatch(string(text), -1); err == nil && (len(got) != 2 || got[0][1] != "whole" || got[1][1] != "unfinished") {
			err = fmt.Errorf("of the last words came %q", got)
		}
		return err
	})

	// The server goes, the container writes, the engine dies, the server comes back.
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "fifo"), []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, commandTimeout, func() error {
		if log := s.must("logs", "--no-log-prefix", "tcp"); !strings.Contains(log, "line 600") {
			return fmt.Errorf("the log ends in %q", log[max(0, len(log)-100):])
		}
		return nil
	})
	file, _ = s.rsyslog()
	seen := map[string]bool{}
	for len(seen) < 300 {
		for _, line := range received(len(seen) + 1) {
			_, number, _ := strings.Cut(line, "line ")
			seen[number] = true
		}
		if len(seen) >= 299 { // the first message may have gone into the connection that was dead
			break
		}
	}
	if got := strings.Count(s.must("logs", "--no-log-prefix", "tcp"), "line "); got != 600 {
		t.Errorf("logs shows %d lines of 600", got)
	}
}

// Journal entries must have the fields that docker's driver writes, and the labels and variables that are asked for.
func TestJournaldDriver(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.sh(s.host.pid, `mkdir -p /run/systemd /run/log /var/log/journal
		for d in /run/systemd /run/log /var/log/journal; do mount -t tmpfs journal $d; done; mkdir /run/systemd/journal
		echo 0123456789abcdef0123456789abcdef > /run/log/id; [ -e /etc/machine-id ] || touch /etc/machine-id; mount --bind /run/log/id /etc/machine-id`)
	s.write("compose.yaml", `
services:
  app:
    image: busybox:latest
    command: ["sh", "-c", "echo to the journal; echo oops >&2; head -c 20000 /dev/zero | tr '\\0' x"]
    environment: {COLOR: blue, OTHER: x}
    labels: {com.example.team: lions}
    logging: {driver: journald, options: {tag: "{{.Name}}", env: COLOR, labels-regex: "^com.example"}}
`)
	if r := s.run("up"); r.code == 0 || !strings.Contains(r.stderr, "journald is not enabled on this host") {
		t.Errorf("without a journal: %s", r)
	}
	s.must("down", "-t", "0")
	s.daemon("/lib/systemd/systemd-journald")
	eventually(t, commandTimeout, func() error {
		_, err := exec.Command("nsenter", "--target", fmt.Sprint(s.host.pid), "--mount", "--", "test", "-S", "/run/systemd/journal/socket").Output()
		return err
	})
	if out := s.must("up"); !strings.Contains(out, "to the journal") {
		t.Errorf("up shows %q", out)
	}
	type entry struct {
		Message      any    `json:"MESSAGE"`
		Priority     string `json:"PRIORITY"`
		ID           string `json:"CONTAINER_ID"`
		Name         string `json:"CONTAINER_NAME"`
		Tag          string `json:"CONTAINER_TAG"`
		Image        string `json:"IMAGE_NAME"`
		Identifier   string `json:"SYSLOG_IDENTIFIER"`
		Color        string `json:"COLOR"`
		Other        string `json:"OTHER"`
		Team         string `json:"COM_EXAMPLE_TEAM"`
		Partial      string `json:"CONTAINER_PARTIAL_MESSAGE"`
		RealTimeFull string `json:"SYSLOG_TIMESTAMP"`
	}
	var entries []entry
	eventually(t, commandTimeout, func() error {
		out := s.host.sh(s.host.pid, "journalctl --directory=/run/log/journal --no-pager --all --output=json CONTAINER_NAME=project-app-1")
		entries = nil
		for line := range strings.Lines(out) {
			var e entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return fmt.Errorf("%w: %s", err, line)
			}
			entries = append(entries, e)
		}
		if len(entries) < 4 {
			return fmt.Errorf("%d entries of 4: %v", len(entries), entries)
		}
		return nil
	})
	id := strings.TrimSpace(s.must("ps", "-a", "-q"))[:12]
	var text, partial string
	for _, e := range entries {
		if e.ID != id || e.Tag != "project-app-1" || e.Identifier != "project-app-1" || e.Image != "busybox:latest" || e.Color != "blue" || e.Other != "" || e.Team != "lions" {
			t.Errorf("an entry without docker's fields: %+v", e)
		}
		message, _ := e.Message.(string)
		if (message == "oops") != (e.Priority == "3") {
			t.Errorf("priority %s for %.20q", e.Priority, message)
		}
		text += message
		partial += e.Partial
	}
	if !strings.Contains(text, "to the journal") || strings.Count(text, "x") != 20000 || partial != "true" {
		t.Errorf("%d bytes of text, partial %q: %.100q", len(text), partial, text)
	}
}
