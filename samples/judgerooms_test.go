package samples

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tutti/samples/testdata/probe/facts"
)

// paths compares what is hidden and what is read-only.
func (j *judge) paths() {
	var open []string
	for path, state := range j.f.Hidden {
		if state == "readable" {
			open = append(open, path)
		}
	}
	j.add("paths that are hidden, where the kernel has them", strings.Join(append(slices.Clone(dockerMasked),
		"/sys/devices/system/cpu/cpu*/thermal_throttle"), ", "), orList(open, "the same", " can be read"), verdictOn(open))
	var writable []string
	for _, path := range dockerReadOnly {
		if _, err := os.Stat(path); err == nil && !slices.Contains(j.f.Unwritable, path) {
			writable = append(writable, path)
		}
	}
	j.add("paths that are read-only", list(dockerReadOnly), orList(writable, "the same", " can be written"), verdictOn(writable))
	j.add("files in /sys, /proc/sys and the paths above that root can write", "none", list(j.f.Writable), verdictOn(j.f.Writable))
}

func orList(found []string, none, what string) string {
	if len(found) == 0 {
		return none
	}
	return list(found) + what
}

func verdictOn(found []string) string {
	if len(found) > 0 {
		return "WEAKER"
	}
	return equal
}

func (j *judge) devices() {
	docker, tutti := []string{}, []string{}
	for path, is := range dockerNodes {
		docker = append(docker, path+" "+is)
	}
	for path, is := range j.f.Nodes {
		tutti = append(tutti, path+" "+is)
	}
	j.within("/dev", sorted(docker), sorted(tutti))
	j.same("device nodes may be made", "yes, of any number", orText(j.f.Mknod, "yes, of any number"))
	// A pseudo terminal that nobody has opened is no device (ENXIO): the controller has let it through.
	j.within("devices that can be opened, of "+strconv.Itoa(len(j.f.Opened)+len(j.f.Refused))+" tried", dockerDevices, j.f.Opened)
}

// mounts compares the mounts of the default one by one; there may be no others but those that hide and protect.
func (j *judge) mounts() {
	seen := map[string]string{}
	var shared, slaves []string
	for i := range j.f.Mounts {
		m := &j.f.Mounts[i]
		if m.Shared {
			shared = append(shared, m.Target)
		}
		if m.Slave {
			slaves = append(slaves, m.Target)
		}
		target := m.Target
		if rest, ok := strings.CutPrefix(target, "/sys/fs/cgroup/"); ok && rest != "" {
			j.cgroupMount(m)
			continue
		}
		seen[target] = describe(m)
	}
	for _, d := range dockerMounts {
		got := seen[d.target]
		delete(seen, d.target)
		if d.target == "/sys/fs/cgroup" {
			// On v1 a tmpfs with a folder for every controller, on v2 the tree itself.
			got = strings.NewReplacer("tmpfs, ", "cgroup, ", "cgroup2, ", "cgroup, ", ", mode=755", "").Replace(got)
		}
		j.mount(d.target, d.is, got)
	}
	var unknown []string
	for target, is := range seen {
		switch {
		case slices.Contains(dockerReadOnly, target) && strings.Contains(is, ", ro"):
		case slices.ContainsFunc(request().Masked, func(p string) bool { return p == target }):
		default:
			unknown = append(unknown, target+" ("+is+")")
		}
	}
	j.add("other mounts", "what hides and protects the paths above", orList(sorted(unknown), "the same", ""), verdictOn(unknown))
	j.add("mounts that pass on to the host what is mounted on them", "none", list(shared), verdictOn(shared))
	verdict := stricter
	if len(slaves) > 0 {
		verdict = equal
	}
	j.add("mounts that receive what the host mounts below them", "/", list(slaves), verdict)
}

func (j *judge) cgroupMount(m *facts.Mount) {
	if is := describe(m); m.Type != "cgroup" && m.Type != "cgroup2" || !strings.Contains(is, ", ro, nosuid, nodev, noexec") || m.Root != "/" && j.keyrings != "" {
		j.add("mount "+m.Target, "cgroup, ro, nosuid, nodev, noexec", is+" of "+m.Root, "WEAKER")
	}
}

// describe names the type of a mount and what restricts it.
func describe(m *facts.Mount) string {
	parts := []string{m.Type}
	if strings.HasPrefix(m.Target, "/etc/") {
		parts[0] = "bind"
	}
	for _, o := range []string{"ro", "nosuid", "nodev", "noexec"} {
		if slices.Contains(m.Options, o) {
			parts = append(parts, o)
		}
	}
	if m.Type == "tmpfs" || m.Type == "devpts" {
		var of []string
		for _, o := range m.Super {
			key, _, _ := strings.Cut(o, "=")
			if slices.Contains([]string{"gid", "mode", "ptmxmode", "size"}, key) {
				of = append(of, o)
			}
		}
		if parts[0] != "bind" {
			parts = append(parts, sorted(of)...)
		}
	}
	return strings.Join(parts, ", ")
}

// mount adds a row; more restrictions than docker's are stricter.
func (j *judge) mount(target, docker, tutti string) {
	missing := slices.DeleteFunc(strings.Split(docker, ", "), func(o string) bool { return slices.Contains(strings.Split(tutti, ", "), o) })
	switch {
	case docker == tutti:
		j.add("mount "+target, docker, tutti, equal)
	case len(missing) > 0:
		j.add("mount "+target, docker, tutti, "WEAKER: "+list(missing))
	default:
		j.add("mount "+target, docker, tutti, stricter)
	}
}

// judgePrivileged compares in short what `privileged: true` gives.
func judgePrivileged(t testing.TB, f *facts.Facts) []row {
	j := newJudge(t, f, f, nil)
	own := capabilities(statusField(t, os.Getpid(), "CapBnd"))
	j.within("privileged: capabilities that the engine has itself", own, capabilities(f.Status["CapEff"]))
	j.rows[0].docker, j.rows[0].tutti = "all", "all" // which they are depends on the host
	if len(capabilities(f.Status["CapEff"])) < len(own) {
		j.rows[0].tutti = "not all"
	}
	j.same("privileged: inheritable and ambient capabilities", "none", list(append(capabilities(f.Status["CapInh"]), capabilities(f.Status["CapAmb"])...)))
	j.same("privileged: seccomp mode, no_new_privs", "0, 0", f.Status["Seccomp"]+", "+f.Status["NoNewPrivs"])
	yes := func(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }
	j.same("privileged: /proc/sys and /sys can be written", "yes", yes(len(f.Writable) > 5))
	j.same("privileged: hidden paths can be read", "yes", yes(slices.Contains(values(f.Hidden), "readable")))
	j.same("privileged: every device can be opened", "yes", yes(!slices.ContainsFunc(f.Refused, func(n string) bool { return canOpen(t, n) })))
	j.same("privileged: own namespaces", "ipc, mnt, net, pid, uts", list(ownNamespaces(t, f, false)))
	return j.rows
}

// judgeHardened compares in short what is left without capabilities and new privileges.
func judgeHardened(t testing.TB, f *facts.Facts) []row {
	j := newJudge(t, f, f, nil)
	var caps []string
	for _, key := range []string{"CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"} {
		caps = append(caps, capabilities(f.Status[key])...)
	}
	j.within("hardened: capabilities, all five sets", nil, caps)
	j.same("hardened: no_new_privs", "1", f.Status["NoNewPrivs"])
	p := readProfile(t)
	j.same("hardened: seccomp mode", "2 (filter)", f.Status["Seccomp"]+" (filter)")
	j.architecture(&p, "hardened, x86-64", "native", callNames(t, "amd64"))
	j.same("hardened: device nodes may be made", "no: operation not permitted", "no: "+orText(f.Mknod, "they may"))
	j.add("hardened: files in /sys and /proc/sys that can be written", "none", list(f.Writable), verdictOn(f.Writable))
	return j.rows
}

func values(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func statusField(t testing.TB, pid int, key string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if k, v, _ := strings.Cut(line, ":"); k == key {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("no %s", key)
	return ""
}

// canOpen tries a device number of the probe's on the host.
func canOpen(t testing.TB, number string) bool {
	t.Helper()
	var kind string
	var major, minor uint32
	if _, err := fmt.Sscanf(strings.ReplaceAll(number, ":", " "), "%s %d %d", &kind, &major, &minor); err != nil {
		t.Fatal(err)
	}
	mode := map[string]uint32{"c": unix.S_IFCHR, "b": unix.S_IFBLK}[kind]
	at := filepath.Join(t.TempDir(), "node")
	if err := unix.Mknod(at, mode|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES)
}
