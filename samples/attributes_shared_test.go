package samples

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Namespaces, names, shared memory and volumes of one container must be another's where the file says so, and nowhere else.
func TestSharedAttributes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("folder/file", "from the host\n")
	sleeper := func(attributes string) string {
		return "{image: 'busybox:latest', command: sleep 1000, init: true, network_mode: none, " + attributes + "}\n"
	}
	s.write("compose.yaml", `
services:
  base:
    image: busybox:latest
    command: [sh, -c, "echo anonymous > /anonymous/file; echo memory > /dev/shm/file; touch /ready; exec sleep 1000"]
    hostname: harbour
    domainname: sea.example
    ipc: shareable
    stop_signal: SIGKILL
    volumes: [/anonymous, "./folder:/folder", {type: tmpfs, target: /scratch}]
    healthcheck: {test: [CMD, test, -e, /ready], interval: 100ms}
`+indent(map[string]string{
		"net":      "{image: 'busybox:latest', command: sleep 1000, init: true, network_mode: 'service:base'}\n",
		"net-net":  "{image: 'busybox:latest', command: sleep 1000, init: true, network_mode: 'service:net'}\n",
		"pid":      sleeper("pid: 'service:base'"),
		"ipc":      sleeper("ipc: 'service:base', read_only: true"),
		"heir":     sleeper("volumes_from: [base]"),
		"heir-ro":  sleeper("volumes_from: ['base:ro']"),
		"heir-own": sleeper("volumes_from: [base], tmpfs: /anonymous"),
		"linked":   "{image: 'busybox:latest', command: sleep 1000, init: true, external_links: ['shared-base-1:far', shared-base-1]}\n",
	}))
	s.must("-p", "shared", "up", "-d", "--wait")
	see := func(service, script, want string) {
		t.Helper()
		if got := strings.TrimSuffix(s.run("-p", "shared", "exec", "-T", service, "sh", "-c", "exec 2>&1; "+script).stdout, "\n"); got != want {
			t.Errorf("%s: %s: %q, want %q", service, script, got, want)
		}
	}
	own := func(kind string) string {
		return strings.TrimSpace(s.must("-p", "shared", "exec", "-T", "base", "readlink", "/proc/self/ns/"+kind))
	}
	names := "readlink /proc/self/ns/net; hostname; cat /proc/sys/kernel/domainname /etc/hostname; echo $HOSTNAME"
	for _, service := range []string{"base", "net", "net-net"} {
		see(service, names, own("net")+"\nharbour\nsea.example\nharbour\nharbour")
	}
	see("net", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep HOSTNAME | uniq", "HOSTNAME=harbour")
	see("pid", "readlink /proc/self/ns/pid; until grep -q sleep /proc/1/comm; do sleep 0.1; done; tr '\\0' ' ' < /proc/1/cmdline", own("pid")+"\nsleep 1000 ")
	see("ipc", "readlink /proc/self/ns/ipc; cat /dev/shm/file; echo back > /dev/shm/back", own("ipc")+"\nmemory")
	see("base", "cat /dev/shm/back", "back")
	see("pid", "cat /dev/shm/file", "cat: can't open '/dev/shm/file': No such file or directory")
	see("heir", "cat /anonymous/file /folder/file; ls -d /scratch; echo heir > /anonymous/heir", "anonymous\nfrom the host\nls: /scratch: No such file or directory")
	see("heir-ro", "cat /anonymous/heir; touch /anonymous/x; touch /folder/x", "heir\ntouch: /anonymous/x: Read-only file system\ntouch: /folder/x: Read-only file system")
	see("heir-own", "ls /anonymous; cat /folder/file", "from the host")
	see("linked", "nslookup far | grep -c Address; nslookup shared-base-1 | grep -c Address", "2\n2")

	t.Run("another project", func(t *testing.T) { sharedElsewhere(s.in(t), own) })
	s.must("-p", "shared", "up", "-d", "--force-recreate", "--wait", "base")
	see("heir", "cat /anonymous/heir /anonymous/file", "heir\nanonymous") // anonymous volumes go on, and so do their heirs
	s.must("-p", "shared", "down", "-v", "-t", "0")
	s.mustBeEmpty("shared")
	if left := s.must("volume", "ls", "--quiet"); left != "" {
		t.Errorf("left behind: volumes %s", left)
	}
}

// sharedElsewhere shares with a container of another project, by its name.
func sharedElsewhere(s *site, own func(string) string) {
	s.write("elsewhere.yaml", `
services:
  all:
    image: busybox:latest
    command: sleep 1000
    init: true
    pid: "container:shared-base-1"
    ipc: "container:shared-base-1"
    network_mode: "container:shared-base-1"
    volumes_from: ["container:shared-base-1:ro"]
`)
	s.must("-p", "elsewhere", "-f", "elsewhere.yaml", "up", "-d")
	got := s.must("-p", "elsewhere", "-f", "elsewhere.yaml", "exec", "-T", "all", "sh", "-c",
		"for n in pid ipc net; do readlink /proc/self/ns/$n; done; hostname; cat /dev/shm/file /anonymous/file; touch /anonymous/x || echo read-only")
	want := own("pid") + "\n" + own("ipc") + "\n" + own("net") + "\nharbour\nmemory\nanonymous\nread-only\n"
	if got != want {
		s.t.Errorf("it prints %q, want %q", got, want)
	}
	s.must("-p", "elsewhere", "-f", "elsewhere.yaml", "down", "-t", "0")
}

func indent(services map[string]string) string {
	var b strings.Builder
	for name, body := range services {
		fmt.Fprintf(&b, "  %s: %s", name, body)
	}
	return b.String()
}

// ping asks an engine by its socket whether it is one.
func ping(socket string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://engine/_ping")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// Labels, signals and grace periods show from outside.
func TestOutsideAttributes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("some.labels", "from.file=yes\nboth=file\n")
	s.write("compose.yaml", `
services:
  labelled:
    image: busybox:latest
    command: [sh, -c, "trap 'echo usr1; exit 7' USR1; echo ready; while :; do sleep 1 & wait; done"]
    labels: {own: "1", both: own}
    label_file: ./some.labels
    stop_signal: SIGUSR1
    stop_grace_period: 2m
    network_mode: none
  stubborn:
    image: busybox:latest
    command: [sh, -c, "trap '' TERM; echo ready; while :; do sleep 1 & wait; done"]
    stop_grace_period: 200ms
    network_mode: none
  api:
    image: busybox:latest
    command: sleep 1000
    init: true
    use_api_socket: true
    network_mode: none
`)
	s.must("up", "-d")
	eventually(t, commandTimeout, func() error {
		if log := s.must("logs"); strings.Count(log, "ready") < 2 {
			return fmt.Errorf("the log is %q", log)
		}
		return nil
	})
	var listed struct{ Labels map[string]string }
	for line := range strings.Lines(s.must("ps", "labelled", "--format", "json")) {
		var raw struct{ Labels string }
		if err := json.Unmarshal([]byte(line), &raw); err != nil {
			t.Fatal(err)
		}
		listed.Labels = map[string]string{}
		for pair := range strings.SplitSeq(raw.Labels, ",") {
			key, value, _ := strings.Cut(pair, "=")
			listed.Labels[key] = value
		}
	}
	for key, want := range map[string]string{"own": "1", "both": "own", "from.file": "yes", "com.docker.compose.service": "labelled"} {
		if got := listed.Labels[key]; got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	if got, err := ping(fmt.Sprintf("/proc/%d/root/var/run/docker.sock", s.record("api").State.Pid)); got != "OK" {
		t.Errorf("docker's API answers %q, %v", got, err)
	}
	s.must("stop")
	if got := s.must("logs", "--no-log-prefix", "--no-color", "labelled"); !strings.Contains(got, "usr1") {
		t.Errorf("without its stop_signal it prints %q", got)
	}
	for service, want := range map[string]string{"labelled": "7", "stubborn": "137"} {
		if got := strings.TrimSpace(s.must("ps", "--all", service, "--format", "{{.ExitCode}}")); got != want {
			t.Errorf("%s ended with %s, want %s", service, got, want)
		}
	}
	s.must("down")
}
