package samples

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tutti/samples/testdata/probe/facts"
)

// ownNamespaces are those that are not this process's.
func ownNamespaces(t testing.TB, f *facts.Facts, withCgroup bool) []string {
	t.Helper()
	var own []string
	for _, kind := range slices.Sorted(maps.Keys(f.Namespaces)) {
		host, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		if f.Namespaces[kind] != host && (kind != "cgroup" || withCgroup) {
			own = append(own, kind)
		}
	}
	return own
}

// surroundings compares what a container sees beside its files.
func (j *judge) surroundings() {
	own := ownNamespaces(j.t, j.f, true)
	verdict := "WEAKER"
	if list(own) == "cgroup, ipc, mnt, net, pid, uts" {
		verdict = stricter
	}
	j.add("own namespaces", "ipc, mnt, net, pid, uts; cgroup only where the host has cgroup v2", list(own), verdict)
	j.same("user namespace", "the host's: 0 is 0", "the host's: "+mapping(j.f.Files["/proc/self/uid_map"], j.f.Files["/proc/self/gid_map"]))
	var outside []string
	for line := range strings.Lines(j.f.Files["/proc/self/cgroup"]) {
		if w := strings.SplitN(strings.TrimSpace(line), ":", 3); len(w) == 3 && w[2] != "/" {
			outside = append(outside, w[1]+":"+w[2])
		}
	}
	if len(outside) == 0 {
		j.add("its place in the tree of cgroups", "hidden on cgroup v2, shown on v1", "hidden", stricter)
	} else {
		j.add("its place in the tree of cgroups", "hidden on cgroup v2, shown on v1", "shown", equal)
	}
	j.same("processes that it sees", "its own", "its own"+map[bool]string{false: " and others: " + list(j.f.Processes)}[len(j.f.Processes) == 1])
	j.same("named unix sockets in its network namespace, the engine's among them", "none", list(j.f.Sockets))
	j.same("host name", "the container's short ID", shortID(j.f.Files["/proc/sys/kernel/hostname"]))
	j.same("net.ipv4.ip_unprivileged_port_start, net.ipv4.ping_group_range", "0, 0 2147483647",
		j.f.Files["/proc/sys/net/ipv4/ip_unprivileged_port_start"]+", "+spaces(j.f.Files["/proc/sys/net/ipv4/ping_group_range"]))
	j.appArmor()
	if j.keyrings != "" {
		j.same("session keyring", "its own", map[bool]string{true: "its own", false: "the host's"}[strings.Contains(j.keyrings, "_ses."+j.id)])
	}
	refused := []string{
		"mount cgroup", "mount tmpfs", "new mount namespace", "new network namespace", "new user namespace", "remount /sys",
		"session keyring", "set the time", "umount /proc/sys",
	}
	got := []string{}
	for _, name := range slices.Sorted(maps.Keys(j.f.Acts)) {
		if j.f.Acts[name] == "operation not permitted" || j.f.Acts[name] == "permission denied" {
			got = append(got, name)
		}
	}
	j.same("acts that are refused", list(refused), list(got))
}

// appArmor compares where the host has it; elsewhere there is nothing to see.
func (j *judge) appArmor() {
	if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && strings.HasPrefix(string(b), "Y") {
		if profile := j.f.Files["/proc/self/attr/current"]; !strings.HasSuffix(profile, "-default (enforce)") {
			j.add("AppArmor", "docker-default", profile, "WEAKER")
			return
		}
	}
	j.add("AppArmor, where the host has it", "docker-default, enforced", "tutti-default, enforced (seen only there)", equal)
}

func mapping(maps ...string) string {
	for _, m := range maps {
		if spaces(m) != "0 0 4294967295" {
			return m
		}
	}
	return "0 is 0"
}

func shortID(name string) string {
	if len(name) == 12 && strings.Trim(name, "0123456789abcdef") == "" {
		return "the container's short ID"
	}
	return name
}

// process compares what the program is started with.
func (j *judge) process() {
	j.same("oom_score_adj", "0", j.f.Files["/proc/self/oom_score_adj"])
	j.same("umask", "0022", j.f.Umask)
	j.same("open descriptors", "0, 1, 2", list(j.f.Streams))
	j.same("working directory", "/", j.f.Cwd)
	var environ []string
	for _, e := range j.f.Environ {
		key, value, _ := strings.Cut(e, "=")
		if key == "HOSTNAME" {
			value = shortID(value)
		}
		environ = append(environ, key+"="+value)
	}
	j.same("environment", "HOME=/, HOSTNAME=the container's short ID, PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", list(sorted(environ)))
	j.same("signals ignored or blocked", "none", strings.Trim(fmt.Sprint(j.f.Signals), "[]")+map[bool]string{true: "none"}[len(j.f.Signals) == 0])
	if j.limits == nil {
		return
	}
	var differ []string
	for name, limit := range j.f.Limits {
		// Go raises its own soft limit of open files to the hard one, the engine's too; programs get what the engine was given.
		if limit[1] != j.limits[name][1] || name != "NOFILE" && limit[0] != j.limits[name][0] || limit[0] > j.limits[name][0] {
			differ = append(differ, name)
		}
	}
	j.same("resource limits (16)", "the daemon's", orText(strings.Join(sorted(differ), ", "), "the daemon's"))
}

// exec compares a process that enters with the container's own.
func (j *judge) exec() {
	var differ []string
	check := func(what string, own, entered any) {
		if !reflect.DeepEqual(own, entered) {
			differ = append(differ, what)
		}
	}
	for _, key := range []string{"CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "Seccomp", "NoNewPrivs", "Uid", "Gid", "Groups"} {
		check(key, j.f.Status[key], j.entered.Status[key])
	}
	check("verdicts on system calls", j.f.Calls, j.entered.Calls)
	check("arguments of system calls", j.f.ByArgument, j.entered.ByArgument)
	check("hidden paths", j.f.Hidden, j.entered.Hidden)
	check("writable files", j.f.Writable, j.entered.Writable)
	check("devices", j.f.Opened, j.entered.Opened)
	check("descriptors", j.f.Streams, j.entered.Streams)
	check("attributes", j.f.Personal, j.entered.Personal)
	check("limits", j.f.Limits, j.entered.Limits)
	check("umask", j.f.Umask, j.entered.Umask)
	check("oom_score_adj and cgroup", j.f.Files["/proc/self/oom_score_adj"]+j.f.Files["/proc/self/cgroup"],
		j.entered.Files["/proc/self/oom_score_adj"]+j.entered.Files["/proc/self/cgroup"])
	check("acts", j.f.Acts, j.entered.Acts)
	j.same("a process of `exec` and a health check", "as the container's own", orText(strings.Join(differ, ", "), "as the container's own"))
}
