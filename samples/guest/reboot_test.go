package guest

import (
	"strings"
	"testing"
)

// stack is three services in a row, of which the first keeps something. Each notes when it started and, on its way out, when
// it was told to end.
const stack = `
services:
  db:
    image: busybox:latest
    command: sh -c 'echo "$$(cut -d" " -f1 /proc/uptime) db" >>/shared/starts; trap "echo db >>/shared/stops; sync; exit 0" TERM; touch /tmp/ready; while :; do sleep 0.1; done'
    restart: always
    volumes: ["data:/data", "shared:/shared"]
    healthcheck: {test: test -e /tmp/ready, interval: 1s, start_interval: 200ms, start_period: 60s, timeout: 60s, retries: 10}
  api:
    image: busybox:latest
    command: sh -c 'echo "$$(cut -d" " -f1 /proc/uptime) api" >>/shared/starts; trap "echo api >>/shared/stops; exit 0" TERM; touch /tmp/ready; while :; do sleep 0.1; done'
    restart: unless-stopped
    volumes: ["shared:/shared"]
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: test -e /tmp/ready, interval: 1s, start_interval: 200ms, start_period: 60s, timeout: 60s, retries: 10}
  web:
    image: busybox:latest
    command: sh -c 'echo "$$(cut -d" " -f1 /proc/uptime) web" >>/shared/starts; trap "echo web >>/shared/stops; exit 0" TERM; while :; do sleep 0.1; done'
    restart: always
    volumes: ["shared:/shared"]
    depends_on: {api: {condition: service_healthy}}
  halted:
    image: busybox:latest
    command: sleep 100000
    restart: unless-stopped
    stop_grace_period: 0s
volumes: {data: {}, shared: {}}
`

// shared is the volume in which the services leave their marks.
const shared = "/var/lib/tutti/volumes/stack_shared/_data"

// A machine that is rebooted, or whose power is cut, comes back with its stack: in the order of depends_on, and with what was
// in the volumes. On an orderly way down the order is the opposite.
func reboots(t *testing.T, m *machine) {
	m.must("install -m 755 /opt/tutti/tutti /usr/local/sbin/tutti && rm /usr/local/bin/tutti && hash -r && tutti image load -i /opt/tutti/busybox.tar")
	if out := m.must("tutti system install"); !strings.Contains(out, "wrote /etc/systemd/system/tutti.service") ||
		!strings.Contains(out, "enabled tutti.service") || !strings.Contains(out, "started tutti.service") {
		t.Errorf("system install: %s", out)
	}
	m.write("/root/stack/compose.yaml", stack)
	m.must("cd /root/stack && tutti up -d --wait && tutti exec -T db sh -c 'echo precious >/data/file && sync' && tutti stop halted")
	m.inOrder(t, "up")

	// A restart of the service is no restart of containers.
	pid := m.must("pgrep -of /shared/starts")
	m.must("systemctl restart tutti.service")
	if after := m.must("pgrep -of /shared/starts"); after != pid {
		t.Errorf("a restart of the service has ended containers")
	}

	m.must("rm " + shared + "/starts && sync")
	m.reboot()
	m.isBack(t, "reboot")
	if stops := m.must("cat " + shared + "/stops"); stops != "web\napi\ndb" {
		t.Errorf("stopped in the order %q", stops)
	}

	m.must("rm " + shared + "/starts " + shared + "/stops && sync")
	m.cutPower()
	m.powerOn()
	m.isBack(t, "power cut")
	if out, code := m.sh("cat " + shared + "/stops"); code == 0 {
		t.Errorf("nobody can have stopped what lost its power: %s", out)
	}

	m.must("cd /root/stack && tutti down -v -t 0")
	if out := m.must("tutti system uninstall"); !strings.Contains(out, "removed /etc/systemd/system/tutti.service") {
		t.Errorf("system uninstall: %s", out)
	}
	m.must("! test -e /etc/systemd/system/tutti.service && ! test -e /etc/systemd/system/multi-user.target.wants/tutti.service")
}

// isBack waits until the stack is up again, and looks at it.
func (m *machine) isBack(t *testing.T, why string) {
	t.Helper()
	m.eventually(patience, "grep -q web "+shared+"/starts")
	m.inOrder(t, why)
	if got := m.must("cd /root/stack && tutti exec -T db cat /data/file"); got != "precious" {
		t.Errorf("after the %s the volume holds %q", why, got)
	}
	m.eventually(patience, `test "$(cd /root/stack && tutti ps --format '{{.Service}} {{.Health}}' | sort | tr -s '\n ' ' ')" = "api healthy db healthy web "`)
	if got := m.must("cd /root/stack && tutti ps -a --format '{{.State}}' halted"); got != "exited" {
		t.Errorf("after the %s the stopped service is %s", why, got)
	}
}

// inOrder asserts that the services started one after another, each once.
func (m *machine) inOrder(t *testing.T, why string) {
	t.Helper()
	var names []string
	last := ""
	for line := range strings.Lines(m.must("sort -n " + shared + "/starts")) {
		last = line
		if _, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			names = append(names, name)
		}
	}
	if strings.Join(names, " ") != "db api web" {
		t.Errorf("after the %s the services started in the order %v, the last at %s", why, names, last)
	}
}
