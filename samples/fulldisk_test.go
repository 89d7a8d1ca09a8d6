package samples

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// On a full disk containers go on, commands answer, the end of a container is not forgotten even if the engine is killed
// then, `up` says what is wrong, and `down` works. With room again all is as ever.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t, newMachine(t))
	if err := os.Mkdir(s.root, 0o700); err != nil {
		t.Fatal(err)
	}
	s.onHost("mount -t tmpfs -o size=64m,mode=700 tmpfs " + s.root)
	s.load("busybox")
	s.write("compose.yaml", `
name: full
services:
  web:
    image: busybox:latest
    command: sh -c 'mkdir /tmp/www; hostname > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www'
    hostname: web
    tmpfs: /tmp
    ports: ["8080:80"]
    stop_grace_period: 0s
  chatty:
    image: busybox:latest
    command: sh -c 'while :; do head -c 20000 /dev/zero | tr "\0" x; echo; sleep 0.01; done'
    stop_grace_period: 0s
    logging: {driver: json-file, options: {max-size: 2m, max-file: "2"}}
  ender:
    image: busybox:latest
    command: sh -c 'while [ ! -e /run/end/now ]; do sleep 0.05; done; exit 42'
    volumes: ["./end:/run/end"]
  more:
    image: busybox:latest
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [more]
`)
	s.write("end/.keep", "")
	s.must("up", "-d")
	s.host.serves(s.host.neighbour, hostAddress+":8080", "web")
	s.fill()
	s.write("end/now", "")
	eventually(t, commandTimeout, func() error {
		if state := strings.TrimSpace(s.must("ps", "--all", "--format", "{{.State}} {{.ExitCode}}", "ender")); state != "exited 42" {
			return fmt.Errorf("state of ender on a full disk: %q", state)
		}
		return nil
	})
	s.fill() // also what was given back since
	if r := s.run("--profile", "more", "up", "-d", "more"); r.code == 0 || !strings.Contains(r.stderr, "no space left on device") {
		t.Errorf("up on a full disk: exit code %d: %s", r.code, r)
	}
	s.recover("engine")
	if state := strings.TrimSpace(s.must("ps", "--all", "--format", "{{.State}} {{.ExitCode}}", "ender")); state != "exited 42" {
		t.Errorf("state of ender after the engine was killed on a full disk: %q", state)
	}
	if got, err := s.host.get(s.host.neighbour, hostAddress+":8080"); got != "web" {
		t.Errorf("published port on a full disk: %q, %v", got, err)
	}
	s.onHost("rm " + s.root + "/ballast")
	s.must("--profile", "more", "up", "-d", "more")
	s.fill()
	s.must("--profile", "more", "down", "-v", "-t", "0")
	s.mustBeEmpty("full")
	s.onHost("rm " + s.root + "/ballast")
	// The engine has files open on the disk until it has ended.
	eventually(t, commandTimeout, func() error {
		if left := s.processes(); len(left) > 0 {
			return errNotGone(left)
		}
		return nil
	})
	s.onHost("umount " + s.root)
}

// fill leaves no room on the disk of the state folder.
func (s *site) fill() {
	s.t.Helper()
	s.onHost("dd if=/dev/zero of=" + s.root + "/ballast bs=4k oflag=append conv=notrunc 2>/dev/null || true")
}
