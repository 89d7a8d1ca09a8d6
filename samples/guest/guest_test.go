package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// shelf is a folder for what all machines need.
var shelf string

func TestMain(m *testing.M) {
	var err error
	if shelf, err = os.MkdirTemp("", "tutti-guest-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(shelf)
	os.Exit(code)
}

var once sync.Once

// tools is a folder with what a guest needs: the binary, the tests' programs, an image.
func tools(t *testing.T) string {
	t.Helper()
	once.Do(func() { fillShelf(t, shelf) })
	if t.Failed() || !isFile(filepath.Join(shelf, "busybox.tar")) {
		t.FailNow()
	}
	return shelf
}

func fillShelf(t *testing.T, dir string) {
	t.Helper()
	for name, pkg := range map[string]string{
		"cgroup.test": "tutti/runtime/cgroup", "runtime.test": "tutti/runtime", "samples.test": "tutti/samples", "netdriver.test": "tutti/netdriver",
	} {
		build(t.Context(), t, pkg, filepath.Join(dir, name))
	}
	binary, err := filepath.Abs("../../bin/tutti")
	if err != nil {
		t.Fatal(err)
	}
	if !isFile(binary) {
		t.Fatalf("%s is missing: run `make build` first", binary)
	}
	archives, err := exec.Command("../base-images/base-images.sh", "bootstrap").Output()
	if err != nil {
		t.Fatalf("base images: %v", err)
	}
	busybox := filepath.Join(strings.TrimSpace(string(archives)), "busybox.tar")
	for _, from := range []string{binary, busybox} {
		if err := os.Link(from, filepath.Join(dir, filepath.Base(from))); err != nil {
			command(t, "cp", from, dir)
		}
	}
}

// One machine with cgroup v2 and systemd for all that follows: to boot it is what takes the time.
func TestUnified(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "", tools(t))
	if list := m.must("cat /sys/fs/cgroup/cgroup.controllers"); !strings.Contains(list, "memory") {
		t.Fatalf("the guest's controllers on cgroup v2: %s", list)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *machine)
	}{
		{"cgroup", func(t *testing.T, m *machine) { m.tests(t, "/root/runtime/cgroup", "cgroup.test", "") }},
		{"resources", resources},
		{"attributes", attributes},
		{"session", leavesSession},
		{"delegation", delegation},
		{"reboot", reboots},
		{"runtime", func(t *testing.T, m *machine) { m.tests(t, "/root/runtime", "runtime.test", "-swaps 5") }},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, m.in(t)) })
	}
}

// The same kernel with cgroup v1, and a v2 hierarchy without controllers by which systemd tracks processes.
func TestHybrid(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "systemd.unified_cgroup_hierarchy=0", tools(t))
	if mounts := m.must("cut -d' ' -f2,3 /proc/mounts"); !strings.Contains(mounts, "/sys/fs/cgroup/unified cgroup2") || !strings.Contains(mounts, "memory cgroup\n") {
		t.Fatalf("the guest's mounts: %s", mounts)
	}
	t.Run("cgroup", func(t *testing.T) { m.in(t).tests(t, "/root/runtime/cgroup", "cgroup.test", "") })
	t.Run("networks", func(t *testing.T) { networks(t, m.in(t)) })
	t.Run("session", func(t *testing.T) { leavesSession(t, m.in(t)) })
}

// in is the machine for a subtest, whose failures are then its own.
func (m *machine) in(t *testing.T) *machine {
	m.t = t
	return m
}

// networks runs the tests of the drivers that need modules of the kernel.
func networks(t *testing.T, m *machine) {
	m.must("modprobe sctp")
	m.tests(t, "/root/netdriver", "netdriver.test", "-test.run '^(TestIPvlanModes|TestVLAN|TestNoParent|TestSCTP)$'")
}

// resources runs the tests of resource limits with the built binary.
func resources(t *testing.T, m *machine) {
	m.must("mkdir -p /root/bin /root/samples && ln -sf /opt/tutti/tutti /root/bin/tutti")
	m.tests(t, "/root/samples", "samples.test", "-test.run '^(TestResource|TestCgroupNamespace)'")
}

// attributes runs the tests of what a service's attributes ask of cgroups, and of AppArmor, which the guest has.
func attributes(t *testing.T, m *machine) {
	if got := m.must("cat /sys/module/apparmor/parameters/enabled; ls /sys/kernel/security/apparmor/profiles"); !strings.HasPrefix(got, "Y") {
		t.Errorf("the guest's kernel has no AppArmor: %s", got)
	}
	m.must("mkdir -p /root/bin /root/samples && ln -sf /opt/tutti/tutti /root/bin/tutti")
	m.tests(t, "/root/samples", "samples.test", "-test.run '^(TestDeviceAttributes|TestAppArmor)$'")
}

const sleeper = `
services:
  web: {image: 'busybox:latest', command: sleep 100000, stop_grace_period: 0s, init: true}
`

// write makes a file in the guest.
func (m *machine) write(path, content string) {
	m.t.Helper()
	m.must("mkdir -p $(dirname " + path + ") && cat >" + path + " <<'END'\n" + content + "\nEND")
}

// What is started in a login session, or in a service, survives its end.
func leavesSession(t *testing.T, m *machine) {
	m.write("/root/session/compose.yaml", sleeper)
	m.must("tutti image load -i /opt/tutti/busybox.tar")
	// pam_systemd makes a session of it; logind is told to kill what is left in one.
	session := "systemd-run --quiet --wait --collect --pipe -p PAMName=login -p WorkingDirectory=/root/session --uid=0 -- "
	for name, run := range map[string]string{
		"session": session,
		"scope":   "cd /root/session && systemd-run --quiet --scope --unit=byhand.scope -- ",
		"service": "systemd-run --quiet --wait --collect --pipe --unit=byhand.service -p WorkingDirectory=/root/session -- ",
	} {
		m.eventually(patience, "! systemctl is-active --quiet tutti.scope") // every engine begins anew
		before := m.must(run + "sh -c 'cat /proc/self/cgroup; tutti up -d >&2 && cat /proc/self/cgroup'")
		if name == "session" && !strings.Contains(before, "/session-") {
			t.Errorf("the command was in no session: %s", before)
		}
		m.sh("systemctl stop byhand.scope byhand.service; loginctl terminate-user root")
		out := m.must("cd /root/session && tutti ps --format '{{.State}}' && tutti exec -T web true && cat /proc/$(pgrep -f '^[^ ]*tutti engine')/cgroup")
		if !strings.HasPrefix(out, "running") || !strings.Contains(out, "0::/machine.slice/tutti.scope") {
			t.Errorf("%s: after its end: %s", name, out)
		}
		m.must("cd /root/session && tutti down")
	}
}

// The tree below the scope is ours and nothing else is; systemd leaves it alone, whatever it is told.
func delegation(t *testing.T, m *machine) {
	const scope = "/sys/fs/cgroup/machine.slice/tutti.scope"
	m.write("/root/session/compose.yaml", sleeper)
	m.eventually(patience, "! systemctl is-active --quiet tutti.scope")
	before := m.must("ls -d /sys/fs/cgroup/*/ | grep -v machine.slice")
	m.must("cd /root/session && tutti up -d")
	if got := m.must("systemctl show -P Delegate -P ControlGroup tutti.scope"); got != "yes\n/machine.slice/tutti.scope" && got != "/machine.slice/tutti.scope\nyes" {
		t.Errorf("the scope: %s", got)
	}
	if got := m.must("cat " + scope + "/cgroup.procs"); got != "" {
		t.Errorf("processes in the group that has groups below it: %s", got)
	}
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
		if got := m.must("cat " + scope + "/cgroup.subtree_control"); !strings.Contains(got, controller) {
			t.Errorf("%s is not given to containers: %s", controller, got)
		}
	}
	m.must("systemctl daemon-reload && systemctl daemon-reexec && systemctl restart systemd-logind")
	m.must("systemctl set-property --runtime tutti.scope CPUWeight=50")
	m.must("cd /root/session && tutti exec -T web true && cat /proc/$(pgrep -f 'sleep 100000' | head -1)/cgroup | grep machine.slice/tutti.scope")
	m.must("cd /root/session && tutti down")
	m.eventually(patience, "! systemctl is-active --quiet tutti.scope && ! test -e "+scope)
	if after := m.must("ls -d /sys/fs/cgroup/*/ | grep -v machine.slice"); after != before {
		t.Errorf("left behind: before\n%s\nafter\n%s", before, after)
	}
}
