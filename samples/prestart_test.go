package samples

import (
	"fmt"
	"strings"
	"testing"
)

// pre_start hooks must run to their end before the service starts, once for all its containers, with its volumes, and only
// when none of them runs; when one fails, neither the service nor what depends on it is started, and nothing is left of it.
func TestPreStart(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: sh -c 'cat /data/prepared; exec sleep 1000'
    environment: {A: inherited}
    volumes: [data:/data]
    scale: 2
    stop_grace_period: 0s
    pre_start:
      - {command: sh -c 'echo preparing; echo "$$A" > /data/prepared'}
      - {command: sh -c 'echo "$$A" >> /data/prepared', environment: {A: overridden}}
  bad:
    image: busybox:latest
    command: sleep 1000
    profiles: [bad]
    pre_start: [{command: sh -c 'echo no disk >&2; exit 3'}]
  after:
    image: busybox:latest
    command: sleep 1000
    profiles: [bad]
    depends_on: [bad]
volumes:
  data:
`)
	s.must("up", "-d")
	eventually(t, commandTimeout, func() error {
		got := s.must("logs", "--no-log-prefix", "web")
		if strings.Count(got, "inherited\n") != 2 || strings.Count(got, "overridden\n") != 2 {
			return fmt.Errorf("the service has found %q", got)
		}
		return nil
	})
	if got := s.must("ps", "--all", "--format", "{{.Name}}"); strings.Contains(got, "pre_start") {
		t.Errorf("the hooks' containers are left: %s", got)
	}
	s.must("exec", "-T", "web", "rm", "/data/prepared")
	s.must("kill", "-s", "KILL", "web")
	s.must("up", "-d", "--scale", "web=1")
	if got := s.must("exec", "-T", "web", "cat", "/data/prepared"); got != "inherited\noverridden\n" {
		t.Errorf("after all its containers have ended the service finds %q", got)
	}
	s.must("exec", "-T", "web", "rm", "/data/prepared")
	s.must("up", "-d") // one more container, beside one that runs
	if r := s.run("exec", "-T", "web", "test", "-e", "/data/prepared"); r.code != 1 {
		t.Errorf("the hooks were run beside a container that runs: %s", r)
	}
	r := s.run("--profile", "bad", "up", "-d", "after")
	if r.code == 0 || !strings.Contains(r.stderr, `service "bad"`) || !strings.Contains(r.stderr, "pre_start[0]: hook exited with status 3") || !strings.Contains(r.stderr, "no disk") {
		t.Errorf("the message does not say that the hook failed: %s", r)
	}
	if got := s.must("--profile", "bad", "ps", "--quiet", "bad", "after"); got != "" {
		t.Errorf("running are %q", got)
	}
	s.must("--profile", "bad", "down", "-v", "-t", "0")
	s.mustBeEmpty("project")
}
