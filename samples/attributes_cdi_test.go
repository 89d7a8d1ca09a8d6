package samples

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Devices that a specification on the host describes must come into the container with all that belongs to them, by each of
// the ways to ask for them; without a specification the message must say what is missing.
func TestCDIDevices(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	t.Run("no specification", func(t *testing.T) {
		s := s.in(t)
		for yaml, want := range map[string]string{
			"gpus: all":                      `could not select device driver .* with capabilities: \[gpu\].*no CDI specification in /etc/cdi or /var/run/cdi`,
			"devices: ['vendor.test/gpu=0']": `vendor.test/gpu=0: there is no CDI specification`,
			"deploy: {resources: {reservations: {devices: [{capabilities: [gpu], driver: nvidia}]}}}": `device driver "nvidia" .*nvidia-ctk cdi generate`,
		} {
			s.write("compose.yaml", "services:\n  web:\n    image: busybox:latest\n    command: sleep 1000\n    "+yaml+"\n")
			r := s.run("-p", "bad", "up", "-d")
			if r.code == 0 || !regexp.MustCompile(`(?s)compose\.yaml:[3-7]: service "web": .*`+want).MatchString(r.stderr) {
				t.Errorf("exit code %d, want %s: %s", r.code, want, r)
			}
			s.mustBeEmpty("bad")
		}
	})
	s.writeCDI()
	reserve := func(request string) string {
		return "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], " + request + "}]}}}"
	}
	see := `ls /dev/gpu*; echo $DRIVER $GPU $ENGINE; cat /usr/lib/driver/version; touch /usr/lib/driver/x; (: <> /dev/gpu0) && echo opened`
	first := "/dev/gpu0\nloaded first\n1.0\ntouch: /usr/lib/driver/x: Read-only file system\nopened"
	rows := []attribute{
		{"name", "devices: ['vendor.test/gpu=0']", see, first},
		{"gpus-count", "gpus: [{count: 1}]", see, first},
		{"gpus-all", "gpus: all", `ls /dev/gpu*; echo $DRIVER`, "/dev/gpu0\n/dev/gpu1\nloaded"},
		{"gpus-id", "gpus: [{device_ids: ['1']}]", `ls /dev/gpu*; echo $DRIVER $GPU`, "/dev/gpu1\nloaded second"},
		{"reserved", reserve("count: 1"), see, first},
		{"reserved-all", reserve("count: all"), `ls /dev/gpu*`, "/dev/gpu0\n/dev/gpu1"},
		{"reserved-driver", reserve("driver: vendor.test, device_ids: ['1']"), `ls /dev/gpu*`, "/dev/gpu1"},
		{"reserved-cdi", reserve("driver: cdi, device_ids: ['vendor.test/gpu=1']"), `ls /dev/gpu*`, "/dev/gpu1"},
		{"annotated", "devices: ['vendor.test/hook=run']\nannotations: {who: me}", `echo runs`, "runs"},
		{"none", "", `ls /dev/gpu*`, "ls: /dev/gpu.*"},
	}
	s.show(rows)
	t.Run("hook", func(t *testing.T) { cdiHook(s.in(t)) })
	s.must("down", "-t", "0")
	for device, want := range map[string]string{
		"vendor.test/gpu=9":      `no such CDI device: vendor.test/gpu=9: the specifications of this host have vendor.test/gpu=0, vendor.test/gpu=1, vendor.test/hook=gone`,
		"vendor.test/hook=image": `would be run inside the container`,
		"vendor.test/hook=gone":  `the CDI hook /no/such/program`,
	} {
		s.write("compose.yaml", "services:\n  web:\n    image: busybox:latest\n    command: sleep 1000\n    devices: ['"+device+"']\n")
		if r := s.run("-p", "bad", "up", "-d"); r.code == 0 || !regexp.MustCompile(`compose\.yaml:5: service "web": devices: .*`+want).MatchString(r.stderr) {
			t.Errorf("%s: exit code %d, want %s: %s", device, r.code, want, r)
		}
	}
	s.mustBeEmpty("bad")
}

// cdiHook looks at what a program of the host was told that ran for the container.
func cdiHook(s *site) {
	var told struct {
		Status      string
		Pid         int
		Annotations map[string]string
	}
	if err := json.Unmarshal([]byte(readFile(s.t, filepath.Join(s.dir, "told.json"))), &told); err != nil {
		s.t.Fatal(err)
	}
	if told.Annotations["who"] != "me" || told.Pid == 0 || told.Status == "" {
		s.t.Errorf("the hook was told %+v", told)
	}
	if got := readFile(s.t, filepath.Join(s.dir, "arguments")); got != "word from the specification\n" {
		s.t.Errorf("the hook has the arguments %q", got)
	}
}

// writeCDI gives the machine a specification of two devices, which are one of the host's, and one of three that
// have nothing but a hook. Only this test's machine sees it.
func (s *site) writeCDI() {
	s.t.Helper()
	const folder = "/var/run/cdi"
	_, missing := os.Stat(folder)
	s.host.sh(s.host.pid, "mkdir -p "+folder+" && mount -t tmpfs cdi "+folder)
	if missing != nil {
		s.t.Cleanup(func() { _ = os.Remove(folder) })
	}
	s.onHost("mknod " + s.dir + "/gpu c 10 " + harmlessDevice(s.t))
	s.write("driver/version", "1.0\n")
	s.write("hook", "#!/bin/sh\ncat > "+s.dir+"/told.json\necho \"$1\" \"$2\" > "+s.dir+"/arguments\n")
	s.onHost("chmod 755 " + s.dir + "/hook")
	device := func(name, value string) string {
		return fmt.Sprintf(`{"name": %q, "containerEdits": {"env": ["GPU=%s"], "deviceNodes": [{"path": "/dev/gpu%s", "hostPath": "%s/gpu", "permissions": "rw"}]}}`,
			name, value, name, s.dir)
	}
	hook := func(name, kind, path string) string {
		return fmt.Sprintf(`{"name": %q, "containerEdits": {"hooks": [{"hookName": %q, "path": %q, "args": ["hook", "word from", "the specification"]}]}}`, name, kind, path)
	}
	spec := fmt.Sprintf(`{"cdiVersion": "0.6.0", "kind": "vendor.test/gpu", "containerEdits": {"env": ["DRIVER=loaded"],
		"mounts": [{"hostPath": "%s/driver", "containerPath": "/usr/lib/driver", "options": ["ro", "nosuid", "nodev", "bind"]}]},
		"devices": [%s]}`, s.dir, strings.Join([]string{
		device("0", "first"), device("1", "second"),
	}, ", "))
	s.write("cdi/devices.json", spec)
	s.write("cdi/hooks.json", fmt.Sprintf(`{"cdiVersion": "0.6.0", "kind": "vendor.test/hook", "devices": [%s]}`, strings.Join([]string{
		hook("run", "createRuntime", s.dir+"/hook"), hook("image", "startContainer", "/bin/sh"), hook("gone", "createContainer", "/no/such/program"),
	}, ", ")))
	s.host.sh(s.host.pid, "cp "+s.dir+"/cdi/*.json "+folder)
}
