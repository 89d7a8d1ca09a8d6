package samples

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Where the host has AppArmor a container must be under the default profile, or the one that is asked for, from its first
// program on. Where it has not, asking for one is an error.
func TestAppArmor(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	if !strings.HasPrefix(string(enabled), "Y") {
		s.write("compose.yaml", "services:\n  web: {image: 'busybox:latest', security_opt: [apparmor=mine]}\n")
		if r := s.run("up", "-d"); r.code == 0 || !strings.Contains(r.stderr, `service "web": security_opt: apparmor=mine: this host has no AppArmor`) {
			t.Errorf("exit code %d: %s", r.code, r)
		}
		return
	}
	load := exec.Command("apparmor_parser", "-Kr")
	load.Stdin = strings.NewReader(`profile tutti-test flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, mount, umount, pivot_root, signal, ptrace, unix,
  deny /secret w,
}
`)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("load a profile: %v: %s", err, out)
	}
	profile := `cat /proc/self/attr/current`
	s.show([]attribute{
		{"default", "", profile + `; mkdir /m; mount -t tmpfs none /m`, "tutti-default \\(enforce\\)\nmount: .*"},
		{"default-init", "init: true", profile, "tutti-default \\(enforce\\)"},
		{"default-mount", "cap_add: [SYS_ADMIN]\nsecurity_opt: [seccomp=unconfined]", `mkdir /m; mount -t tmpfs none /m`, "mount: .*(denied|permitted).*"},
		{"unconfined", "security_opt: [apparmor=unconfined]", profile, "unconfined"},
		{"privileged", "privileged: true", profile, "unconfined"},
		{"own", "security_opt: ['apparmor:tutti-test', no-new-privileges]\nuser: '1000'", profile, "tutti-test \\(enforce\\)"},
		{"own-denies", "security_opt: [apparmor=tutti-test]", `echo x > /secret; echo x > /open && cat /open`, "sh: can't create /secret: Permission denied\nx"},
	})
	s.must("down", "-t", "0")
	s.write("compose.yaml", "services:\n  web: {image: 'busybox:latest', command: sleep 1000, init: true, security_opt: [apparmor=tutti-test]}\n")
	s.must("up", "-d")
	if got := s.must("exec", "-T", "web", "cat", "/proc/self/attr/current"); got != "tutti-test (enforce)\n" {
		t.Errorf("exec runs under %q", got)
	}
	s.must("down", "-t", "0")
}
