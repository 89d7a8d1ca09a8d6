package samples

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// effective prints the capabilities of the container as a number.
const effective = `grep CapEff /proc/self/status | cut -f 2`

// Masks of capabilities(7): docker's default set, and single ones.
const (
	defaultCapabilities = "00000000a80425fb"
	withNetAdmin        = "00000000a80435fb"
	onlyChown           = "0000000000000001"
)

var capabilityRows = []attribute{
	{"cap-default", "", effective, defaultCapabilities},
	{"cap-add", "cap_add: [NET_ADMIN]", effective, withNetAdmin},
	{"cap-add-prefixed", "cap_add: [cap_net_admin]", effective, withNetAdmin},
	{"cap-drop", "cap_drop: [CHOWN]", `chown 1 /tmp`, "chown: /tmp: Operation not permitted"},
	{"cap-drop-all", "cap_drop: [ALL]", `grep -E 'Cap(Eff|Bnd|Prm)' /proc/self/status | cut -f 2 | uniq`, "0000000000000000"},
	{"cap-drop-all-add", "cap_drop: [all]\ncap_add: [chown]", effective, onlyChown},
	{"cap-add-all", "cap_add: [ALL]", `test $(` + effective + `) = $(grep CapBnd /proc/self/status | cut -f 2) && ` + effective, hostCapabilities()},
	{"cap-add-all-drop", "cap_add: [ALL]\ncap_drop: [CAP_CHOWN]", `chown 1 /tmp`, "chown: /tmp: Operation not permitted"},
	{"cap-add-mount", "cap_add: [SYS_ADMIN]", `mkdir /m && mount -t tmpfs none /m && echo mounted`, "mounted"},
}

// hostCapabilities are those that the test, and so the engine, may give away.
func hostCapabilities() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	return regexp.MustCompile(`CapBnd:\t(\w+)`).FindStringSubmatch(string(status))[1]
}

func confinementRows(s *site) []attribute {
	s.write("profiles/no-mkdir.json", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}`)
	seccomp := `grep Seccomp: /proc/self/status | cut -f 2`
	masked := `grep -c ' /proc/[a-z]' /proc/mounts; (head -c 1 /proc/timer_list; head -c 1 /proc/keys) | wc -c; (: >> /proc/sys/net/ipv4/ip_forward) 2>&1 | wc -l`
	return []attribute{
		{"no-new-privileges", "security_opt: [no-new-privileges]", `grep NoNewPrivs /proc/self/status | cut -f 2`, "1"},
		{"no-new-privileges-true", "security_opt: ['no-new-privileges:true']", `grep NoNewPrivs /proc/self/status | cut -f 2`, "1"},
		{"no-new-privileges-false", "security_opt: [no-new-privileges=false]", `grep NoNewPrivs /proc/self/status | cut -f 2`, "0"},
		{"seccomp-default", "", seccomp, "2"},
		{"seccomp-builtin", "security_opt: [seccomp=builtin]", seccomp, "2"},
		{"seccomp-unconfined", "security_opt: ['seccomp:unconfined']", seccomp, "0"},
		{"seccomp-file", "security_opt: [seccomp=./profiles/no-mkdir.json]", seccomp + `; mkdir /x`, "2\nmkdir: can't create directory '/x': (Not supported|Operation not supported)"},
		{"seccomp-privileged", "privileged: true\nsecurity_opt: [seccomp=profiles/no-mkdir.json]", `mkdir /x`, "mkdir: can't create directory '/x': (Not supported|Operation not supported)"},
		{"apparmor-unconfined", "security_opt: [apparmor=unconfined, 'label:disable']", `echo runs`, "runs"},
		{"masked", "", masked, `[1-9]\d*\n0\n1`},
		{"unmasked", "security_opt: [systempaths=unconfined]", masked, `0\n[1-9]\d*\n0`},
		{"cgroups-read-only", "", `grep ' /sys/fs/cgroup' /proc/mounts | tail -1 | cut -d ' ' -f 4 | cut -c 1-2`, "ro"},
		{"cgroups-writable", "security_opt: [writable-cgroups=true]", `grep ' /sys/fs/cgroup' /proc/mounts | tail -1 | cut -d ' ' -f 4 | cut -c 1-2`, "rw"},
		{"privileged", "privileged: true", effective + "; " + seccomp + "; " + masked + `; grep ' /sys ' /proc/mounts | cut -d ' ' -f 4 | cut -c 1-2`, hostCapabilities() + "\n0\n0\n[1-9]\\d*\n0\nrw"},
	}
}

func kernelRows() []attribute {
	own := func(kind string) string { return "readlink /proc/self/ns/" + kind }
	return []attribute{
		{"sysctls-map", "sysctls: {net.core.somaxconn: 1234, kernel.msgmax: 9000}", `cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax`, "1234\n9000"},
		{"sysctls-list", "sysctls: [net.ipv4.ip_forward=1, net/ipv4/conf/lo/rp_filter=2]", `cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/lo/rp_filter`, "1\n2"},
		{"sysctls-default", "", `cat /proc/sys/net/ipv4/ip_unprivileged_port_start`, "0"},
		{"sysctls-override", "sysctls: [net.ipv4.ip_unprivileged_port_start=80]", `cat /proc/sys/net/ipv4/ip_unprivileged_port_start`, "80"},
		{"ulimits", "ulimits: {nofile: {soft: 100, hard: 200}, nproc: 77, core: 0, fsize: {soft: 51200, hard: -1}}", `ulimit -n; ulimit -H -n; grep processes /proc/self/limits | tr -s ' ' | cut -d ' ' -f 3,4; ulimit -c; ulimit -f; ulimit -H -f`, "100\n200\n77 77\n0\n100\nunlimited"},
		{"pid-host", "pid: host", own("pid"), "the host's pid"},
		{"pid-own", "", own("pid") + `; echo $$`, "pid:\\[\\d+\\]\n1"},
		{"ipc-host", "ipc: host", own("ipc"), "the host's ipc"},
		{"ipc-private", "ipc: private", own("ipc") + `; grep -c ' /dev/shm ' /proc/mounts`, "ipc:\\[\\d+\\]\n1"},
		{"ipc-none", "ipc: none", own("ipc") + `; grep -c ' /dev/shm ' /proc/mounts`, "ipc:\\[\\d+\\]\n0"},
		{"ipc-shareable", "ipc: shareable", own("ipc") + `; grep -c ' /dev/shm ' /proc/mounts`, "ipc:\\[\\d+\\]\n1"},
		{"uts-host", "uts: host", own("uts") + `; hostname; echo $HOSTNAME`, fmt.Sprintf("the host's uts\n%[1]s\n%[1]s", hostName())},
		{"uts-own", "", own("uts"), "uts:\\[\\d+\\]"},
		{"isolation", "isolation: default", `echo runs`, "runs"},
	}
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	return regexp.QuoteMeta(name)
}

// The old file formats must still work with these attributes: version 2 as text and as a number, and version 1 without a
// services key.
func TestOldFormats(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	service := `  web:
    image: busybox:latest
    privileged: false
    cap_drop: [ALL]
    read_only: true
    stop_signal: SIGINT
    shm_size: 1m
    volumes_from: [data]
    command: sh -c 'grep CapEff /proc/self/status | cut -f 2; df -k /dev/shm | tail -1 | tr -s " " | cut -d " " -f 2; cat /data/file'
  data:
    image: busybox:latest
    volumes: [/data]
    command: sh -c 'echo shared > /data/file'
`
	dependent := strings.Replace(service, "    volumes_from", "    depends_on: {data: {condition: service_completed_successfully}}\n    volumes_from", 1)
	for name, file := range map[string]string{
		"version 2 as text":   "version: \"2\"\nservices:\n" + dependent,
		"version 2 as number": "version: 2\nservices:\n" + dependent,
		"version 2.4":         "version: '2.4'\nservices:\n" + dependent,
		"version 1":           regexp.MustCompile(`(?m)^  `).ReplaceAllString(dependent, ""),
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.write("compose.yaml", file)
			s.must("up", "--no-color")
			if got, want := s.said()["web"], "0000000000000000\n1024\nshared"; got != want {
				t.Errorf("it prints\n%s\nwant\n%s", got, want)
			}
			s.must("down", "-v", "-t", "0")
		})
	}
	s.mustBeEmpty("project")
}
