package samples

import (
	"regexp"
	"strings"
	"testing"
)

// A value that cannot be must be found before anything is made: the message names the line and the service, and says what
// docker would say.
func TestBadAttributes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("profiles/broken.json", "{")
	s.write("profiles/empty.json", "")
	for name, c := range map[string]struct{ yaml, want string }{
		"capability":            {"cap_add: [NET_ADMIN, CAP_FLY]", `cap_add: unknown capability "CAP_FLY"`},
		"dropped capability":    {"cap_drop: [FLY]", `cap_drop: unknown capability "CAP_FLY"`},
		"security option":       {"security_opt: [selinux=x]", `invalid security option "selinux=x"`},
		"no-new-privileges":     {"security_opt: ['no-new-privileges:maybe']", `invalid security option "no-new-privileges:maybe"`},
		"missing profile":       {"security_opt: [seccomp=profiles/none.json]", `opening seccomp profile \(profiles/none.json\) failed`},
		"broken profile":        {"security_opt: [seccomp=profiles/broken.json]", `seccomp profile`},
		"empty profile":         {"security_opt: [seccomp=profiles/empty.json]", `seccomp profile profiles/empty.json is empty`},
		"profile is a folder":   {"security_opt: [seccomp=profiles]", `opening seccomp profile \(profiles\) failed`},
		"AppArmor profile":      {"security_opt: [apparmor=no-such-profile]", `this host has no AppArmor|profile no-such-profile is not loaded`},
		"host's sysctl":         {"sysctls: {kernel.panic: '1'}", `sysctl kernel.panic is not in a namespace`},
		"sysctl of the network": {"network_mode: host\nsysctls: {net.core.somaxconn: '100'}", `sysctl net.core.somaxconn is not allowed in the host's network namespace`},
		"sysctl of ipc":         {"ipc: host\nsysctls: {kernel.msgmax: '100'}", `sysctl kernel.msgmax is not allowed in the host's ipc namespace`},
		"sysctl upwards":        {"sysctls: {'net/../kernel/panic': '1'}", `malformed`},
		"unknown limit":         {"ulimits: {nofiles: 10}", `"nofiles" is no limit of the kernel's`},
		"limits crossed":        {"ulimits: {nofile: {soft: 20, hard: 10}}", `the soft limit 20 is above the hard limit 10`},
		"pid mode":              {"pid: private", `invalid PID mode: "private"`},
		"pid of nobody":         {"pid: 'container:nobody'", `there is no container of container nobody`},
		"ipc mode":              {"ipc: shared", `invalid IPC mode: "shared"`},
		"ipc of a private one":  {"ipc: 'service:other'", `ipc: other: non-shareable IPC`},
		"ipc of nobody":         {"ipc: 'container:nobody'", `there is no container of container nobody`},
		"uts mode":              {"uts: private", `invalid UTS mode: "private"`},
		"uts and hostname":      {"uts: host\nhostname: x", `conflicting options: hostname and the UTS mode`},
		"user namespace":        {"userns_mode: private", `invalid user namespace mode: "private"`},
		"cgroup mode":           {"cgroup: shared", `cgroup`},
		"isolation":             {"isolation: hyperv", `invalid isolation "hyperv"`},
		"runtime":               {"runtime: nvidia", `unknown or invalid runtime name: nvidia`},
		"storage size":          {"storage_opt: {size: 1G}", `storage_opt: size`},
		"shared name":           {"network_mode: 'service:other'\nhostname: x", `conflicting options: hostname and the network mode`},
		"shared ports":          {"network_mode: 'service:other'\nports: ['80:80']", `conflicting options: port publishing and the container type network mode`},
		"shared dns":            {"network_mode: 'service:other'\ndns: 192.0.2.9", `conflicting options: dns and the network mode`},
		"shared hosts":          {"network_mode: 'service:other'\nextra_hosts: ['a:192.0.2.9']", `conflicting options: custom host-to-IP mapping and the network mode`},
		"links on the host":     {"network_mode: host\nlinks: [other]", `host type networking can't be used with links`},
		"missing device":        {"devices: ['/dev/no-such-device']", `error gathering device information while adding custom device "/dev/no-such-device"`},
		"device is a file":      {"devices: ['/etc/passwd:/dev/x']", `/etc/passwd is not a device`},
		"device access":         {"devices: ['/dev/null:/dev/x:rwx']", `invalid access "rwx"|invalid device`},
		"relative device":       {"devices: ['./null:/dev/x']", `"./null" is neither an absolute path nor the name of a CDI device`},
		"device rule":           {"device_cgroup_rules: ['c 1:3']", `"c 1:3" is not of the form`},
		"tmpfs option":          {"tmpfs: ['/t:colour=red']", `unknown option "colour=red" of a tmpfs`},
		"tmpfs size":            {"tmpfs: ['/t:size=big']", `the option "size=big" of a tmpfs`},
		"tmpfs on the root":     {"tmpfs: ['/']", `target "/"`},
		"stop signal":           {"stop_signal: SIGFLY", `"SIGFLY" is no signal`},
		"volumes of nobody":     {"volumes_from: [nobody]", `nobody.*not defined`},
		"volumes of none":       {"volumes_from: ['container:nobody']", `there is no container of container nobody`},
		"volumes_from access":   {"volumes_from: ['other:rx']", `"other:rx" is not of the form SERVICE\[:ro\]`},
		"volume of Windows":     {"volumes: [{type: npipe, source: x, target: /x}]", `type "npipe" is not supported`},
		"volume of a cluster":   {"volumes: [{type: cluster, source: x, target: /x}]", `type "cluster" is not supported`},
		"label file":            {"label_file: ./no.labels", `no\.labels`},
		"size":                  {"shm_size: big", `shm_size`},
		"umask":                 {"umask: '07777'", `umask: 07777 is no mask`},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			text := "services:\n  other: {image: 'busybox:latest', command: sleep 1000}\n  web:\n    image: busybox:latest\n    command: sleep 1000\n    " +
				strings.ReplaceAll(c.yaml, "\n", "\n    ") + "\n"
			s.write("compose.yaml", text)
			r := s.run("-p", "bad", "up", "-d")
			if r.code == 0 || !regexp.MustCompile(`compose\.yaml:[3-7]: service "web": .*(?:`+c.want+`)`).MatchString(r.stderr) {
				t.Errorf("exit code %d, want %s: %s", r.code, c.want, r)
			}
			if r.code == 0 || strings.Contains(r.stderr, "Created") {
				s.mustBeEmpty("bad")
				s.run("-p", "bad", "down", "-t", "0")
			}
		})
	}
	s.mustBeEmpty("bad")
}
