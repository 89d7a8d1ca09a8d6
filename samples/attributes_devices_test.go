package samples

import (
	"fmt"
	"regexp"
	"testing"
)

// Devices must be there, and be readable and writable as far as the file says: the kernel's cgroups see to that, in their
// first version and in their second.
func TestDeviceAttributes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.show(deviceRows(s))
	s.must("down", "-t", "0")
}

// harmlessDevice is the minor number of a misc device that a container has not by default and that can be opened for
// reading and for writing without consequences.
func harmlessDevice(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"loop-control", "vga_arbiter", "cpu_dma_latency", "hpet"} {
		if found := regexp.MustCompile(`(?m)^ *(\d+) ` + name + `$`).FindStringSubmatch(readFile(t, "/proc/misc")); found != nil {
			return found[1]
		}
	}
	t.Fatal("this machine has no device among /proc/misc that could be tried")
	return ""
}

func deviceRows(s *site) []attribute {
	minor := harmlessDevice(s.t)
	s.onHost(fmt.Sprintf("mkdir -p %[1]s/devices/below && mknod -m 640 %[1]s/devices/one c 10 %[2]s && mknod %[1]s/devices/below/two c 10 %[2]s && ln -s one %[1]s/devices/link && ln -s devices %[1]s/linked",
		s.dir, minor))
	access := func(path string) string {
		return fmt.Sprintf(`(: < %[1]s) && echo read; (: >> %[1]s) && echo written; true`, path)
	}
	denied := func(path, what string) string {
		return "sh: can't (open|create) " + path + ": " + what
	}
	return []attribute{
		{"device", "devices: ['" + s.dir + "/devices/one:/dev/one']", access("/dev/one") + `; stat -c %a /dev/one`, "read\nwritten\n640"},
		{"device-read", "devices: ['" + s.dir + "/devices/one:/dev/one:r']", access("/dev/one"), "read\n" + denied("/dev/one", "Operation not permitted")},
		{"device-write", "devices: ['" + s.dir + "/devices/one:/dev/one:w']", access("/dev/one"), denied("/dev/one", "Operation not permitted") + "\nwritten"},
		{"device-long", "devices: [{source: " + s.dir + "/devices/one, target: /dev/one, permissions: rw}]", access("/dev/one"), "read\nwritten"},
		{"device-link", "devices: ['" + s.dir + "/devices/link:/dev/deep/one']", access("/dev/deep/one"), "read\nwritten"},
		{"device-folder", "devices: ['" + s.dir + "/linked:/dev/many']", `cd /dev/many; find . -type c | sort; ` + access("/dev/many/below/two"), "./below/two\n./one\nread\nwritten"},
		{"device-rule", "device_cgroup_rules: ['c 10:" + minor + " r']", `mknod /dev/mine c 10 ` + minor + `; ` + access("/dev/mine"), "read\n" + denied("/dev/mine", "Operation not permitted")},
		{"device-rule-any", "device_cgroup_rules: ['c *:* rwm']", `mknod /dev/mine c 10 ` + minor + `; ` + access("/dev/mine"), "read\nwritten"},
		{"device-none", "", `mknod /dev/mine c 10 ` + minor + `; ` + access("/dev/mine"), denied("/dev/mine", "Operation not permitted") + "\n" + denied("/dev/mine", "Operation not permitted")},
		{"device-privileged", "privileged: true\ndevices: ['" + s.dir + "/devices/one:/dev/elsewhere']", access("/dev/elsewhere") + `; test -c /dev/kmsg && echo all`, "read\nwritten\nall"},
	}
}
