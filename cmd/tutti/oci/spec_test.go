package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// record is a hook that appends its name and the state that it got to a file.
func record(name, file string) specs.Hook {
	return specs.Hook{
		Path: "/bin/sh", Env: []string{"NAME=" + name, "PATH=/bin:/usr/bin"},
		Args: []string{"sh", "-c", `echo "$NAME $(cat)" >> ` + file},
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	log := filepath.Join(p.dir, "hooks")
	bundle := p.bundle(func(s *specs.Spec) {
		s.Annotations = map[string]string{"k": "v"}
		s.Hooks = &specs.Hooks{
			Prestart:        []specs.Hook{record("prestart", log)}, //nolint:staticcheck // deprecated, and still used
			CreateRuntime:   []specs.Hook{record("createRuntime1", log), record("createRuntime2", log)},
			CreateContainer: []specs.Hook{record("createContainer", log)},
			StartContainer:  []specs.Hook{record("startContainer", "/inside")},
			Poststart:       []specs.Hook{record("poststart", log)},
			Poststop:        []specs.Hook{record("poststop", log)},
		}
	}, "sleep", "1000")
	p.must("create", "--bundle", bundle, "c")
	s := p.state("c")
	if _, err := os.Stat(bundle + "/rootfs/inside"); err == nil {
		t.Error("startContainer ran before the start")
	}
	p.must("start", "c")
	p.must("delete", "--force", "c")
	inside, err := os.ReadFile(bundle + "/rootfs/inside")
	if err != nil || !strings.Contains(string(inside), `startContainer {"status":"created","pid":1,"ociVersion"`) {
		t.Errorf("%v %s", err, inside)
	}
	b, err := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	want := []struct{ name, status string }{
		{"prestart", "created"},
		{"createRuntime1", "created"},
		{"createRuntime2", "created"},
		{"createContainer", "created"},
		{"poststart", "running"},
		{"poststop", "stopped"},
	}
	if err != nil || len(lines) != len(want) {
		t.Fatalf("%v\n%s", err, b)
	}
	for i, w := range want {
		name, text, _ := strings.Cut(lines[i], " ")
		var got specs.State
		p.decode(text, &got)
		pid := s.Pid
		switch w.name {
		case "createContainer":
			pid = 1 // as it is seen from inside
		case "poststop":
			pid = 0
		}
		if name != w.name || string(got.Status) != w.status || got.Pid != pid || got.ID != "c" || got.Bundle != bundle || got.Annotations["k"] != "v" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestFailingHooks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	log := filepath.Join(p.dir, "hooks")
	fail := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo because >&2; exit 4"}}}
	slow := []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Timeout: new(1)}}
	for name, h := range map[string]specs.Hooks{
		"run createRuntime hook /bin/sh: exit status 4: because":       {CreateRuntime: fail},
		"run createContainer hook /bin/sh: exit status 4: because":     {CreateContainer: fail},
		"run createRuntime hook /bin/sleep: it did not end within 1 s": {CreateRuntime: slow},
		"run createContainer hook /nosuch: no such file or directory":  {CreateContainer: []specs.Hook{{Path: "/nosuch"}}},
		"run prestart hook /bin/false: exit status 1":                  {Prestart: []specs.Hook{{Path: "/bin/false"}}}, //nolint:staticcheck // see above
		"run createRuntime hook /bin/sh: it was ended by signal 9":     {CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "kill -9 $$"}}}},
	} {
		h.Poststop = []specs.Hook{record("poststop", log)}
		p.fails(1, name, "create", "--bundle", p.bundle(func(s *specs.Spec) { s.Hooks = &h }, "true"), "c")
	}
	if b, err := os.ReadFile(log); err != nil || strings.Count(string(b), "poststop") != 6 {
		t.Errorf("poststop hooks of containers that could not be created: %v\n%s", err, b)
	}
	p.must("create", "--bundle", p.bundle(func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: fail, Poststart: fail} }, "true"), "c")
	p.fails(1, "run startContainer hook /bin/sh", "start", "c")
	p.await("c", specs.StateStopped)
	p.must("delete", "c")
	// After the start it is too late to fail.
	r := p.run("run", "--bundle", p.bundle(func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: fail, Poststop: fail} }, "true"), "c")
	if r.code != 0 || !strings.Contains(r.stderr, "run poststart hook") || !strings.Contains(r.stderr, "run poststop hook") {
		t.Error(r)
	}
}

func mapped(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
	s.Linux.Sysctl = nil
	s.Linux.Devices = nil
}

func TestUserNamespace(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	private := filepath.Join(p.dir, "private") // that nobody but the host's root reaches
	if err := os.MkdirAll(private+"/data", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(private+"/data/f", []byte("seen\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	bundle := p.bundle(func(s *specs.Spec) {
		mapped(s)
		s.Process.OOMScoreAdj = new(55)
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/bin/data", Type: "bind", Source: private + "/data", Options: []string{"rbind", "ro"}})
	}, "sleep", "1000")
	if err := os.Mkdir(bundle+"/rootfs/bin/data", 0o755); err != nil { // the container's root may not
		t.Fatal(err)
	}
	for _, d := range []string{"proc", "dev", "sys"} {
		if err := os.Mkdir(bundle+"/rootfs/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.must("create", "--bundle", bundle, "c")
	p.must("start", "c")
	check := "id -u; cat /proc/self/uid_map /proc/1/oom_score_adj /bin/data/f; stat -c %u /bin/data/f; echo > /dev/null"
	if out := strings.Fields(p.must("exec", "c", "sh", "-c", check)); strings.Join(out, " ") != "0 0 100000 65536 55 seen 65534" {
		t.Error(out)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.state("c").Pid) + "/status")
	if err != nil || !strings.Contains(string(status), "\nUid:\t100000\t") {
		t.Errorf("%v %s", err, status)
	}
	// A second container in the same user namespace.
	ns := fmt.Sprintf("/proc/%d/ns/user", p.state("c").Pid)
	out := p.must("run", "--bundle", p.shared(bundle, func(s *specs.Spec) {
		mapped(s)
		s.Linux.Namespaces[len(s.Linux.Namespaces)-1].Path = ns
	}, "ls", "-l", "/proc/self/ns/user"), "d")
	if want, err := os.Readlink(ns); err != nil || !strings.Contains(out, want) {
		t.Errorf("%s is not %s %v", out, want, err)
	}
	p.fails(1, "include ID 0", "create", "--bundle", p.bundle(func(s *specs.Spec) {
		mapped(s)
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 1, HostID: 1, Size: 1}}
	}, "true"), "e")
}

// shared is a bundle with the root file system of another.
func (p *place) shared(other string, change func(*specs.Spec), args ...string) string {
	return p.bundle(func(s *specs.Spec) {
		change(s)
		s.Root.Path = other + "/rootfs"
	}, args...)
}

func TestOtherNamespaces(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.started("c", nil, "sleep", "1000")
	proc := fmt.Sprintf("/proc/%d/ns/", p.state("c").Pid)
	for _, kind := range []specs.LinuxNamespaceType{"network", "ipc", "uts", "pid", "cgroup"} {
		file := strings.TrimSuffix(string(kind), "work")
		want, err := os.Readlink(proc + file)
		if err != nil {
			t.Fatal(err)
		}
		out := p.output(func(s *specs.Spec) {
			s.Hostname, s.Linux.Sysctl = "", nil
			for i := range s.Linux.Namespaces {
				if s.Linux.Namespaces[i].Type == kind {
					s.Linux.Namespaces[i].Path = proc + file
				}
			}
		}, "ls", "-l", "/proc/self/ns/"+file)
		if !strings.Contains(out, want) {
			t.Errorf("%s: %s is not %s", kind, out, want)
		}
	}
	// Without a mount namespace: the host's, and afterwards its mounts are gone (clean looks).
	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	out := p.output(func(s *specs.Spec) {
		s.Linux.Namespaces = without(s.Linux.Namespaces, specs.MountNamespace)
	}, "sh", "-c", "ls -l /proc/self/ns/mnt; ls /")
	if !strings.Contains(out, host) || strings.Contains(out, "usr") {
		t.Error(out)
	}
	// Time: a day later inside, for processes of exec too.
	p.started("t", func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000}}
	}, "sleep", "1000")
	for _, out := range []string{
		p.must("exec", "t", "cat", "/proc/uptime"),
		p.output(func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace, Path: fmt.Sprintf("/proc/%d/ns/time", p.state("t").Pid)})
		}, "cat", "/proc/uptime"),
	} {
		if up, err := strconv.ParseFloat(strings.Fields(out)[0], 64); err != nil || up < 1000000 {
			t.Errorf("%q %v", out, err)
		}
	}
}

func without(list []specs.LinuxNamespace, kind specs.LinuxNamespaceType) []specs.LinuxNamespace {
	var rest []specs.LinuxNamespace
	for _, n := range list {
		if n.Type != kind {
			rest = append(rest, n)
		}
	}
	return rest
}

func TestProcessAttributes(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	out := p.output(func(s *specs.Spec) {
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		s.Process.Capabilities.Inheritable = []string{"CAP_CHOWN"}
		s.Process.Capabilities.Ambient = []string{"CAP_CHOWN"}
		s.Process.User = specs.User{UID: 5, GID: 6, Umask: new(uint32(0o27)), AdditionalGids: []uint32{7}}
		s.Process.Cwd = "/made/for/me"
	}, "sh", "-c", "uname -m; cat /proc/self/stat /proc/self/status; pwd; id")
	fields := strings.Fields(out)
	if fields[0] != "i686" {
		t.Error(fields[0])
	}
	if policy, nice := fields[41], fields[19]; policy != "3" || nice != "5" { // proc_pid_stat(5); one field is before it
		t.Errorf("policy %s, nice %s", policy, nice)
	}
	for _, want := range []string{"Umask:\t0027", "CapAmb:\t0000000000000001", "CapInh:\t0000000000000001", "\n/made/for/me\n", "uid=5 gid=6 groups=7"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestMountOptions(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	source := filepath.Join(p.dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bind := func(dest string, options ...string) specs.Mount {
		return specs.Mount{Destination: dest, Type: "bind", Source: source, Options: append([]string{"rbind"}, options...)}
	}
	bundle := p.bundle(func(s *specs.Spec) {
		moved := bind("/mapped")
		moved.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 4000, Size: 1000}}
		moved.GIDMappings = moved.UIDMappings
		s.Mounts = append(s.Mounts, moved, bind("/rro", "rro", "rnosuid"),
			specs.Mount{Destination: "/filled", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "ro"}},
			specs.Mount{Destination: "relative", Type: "tmpfs", Source: "tmpfs"})
	}, "sh", "-c", "stat -c %u /mapped/f; touch /rro/g 2>/dev/null || echo read-only; touch /filled/x 2>/dev/null || echo read-only; "+
		"cat /filled/sub/file; stat -c %u:%a /filled/sub/file; ls -d /relative")
	if err := os.MkdirAll(bundle+"/rootfs/filled/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	file := bundle + "/rootfs/filled/sub/file"
	if err := os.WriteFile(file, []byte("copied\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12, 13); err != nil {
		t.Fatal(err)
	}
	if out := p.must("run", "--bundle", bundle, "c"); out != "4000\nread-only\nread-only\ncopied\n12:640\n/relative\n" {
		t.Errorf("%q", out)
	}
	p.fails(1, "only bind mounts can have ID mappings", "create", "--bundle", p.bundle(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "tmpfs", UIDMappings: []specs.LinuxIDMapping{{Size: 1}}})
	}, "true"), "c")
}
