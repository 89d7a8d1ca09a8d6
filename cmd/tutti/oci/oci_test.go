package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

func TestLifecycle(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	bundle := p.bundle(func(s *specs.Spec) { s.Annotations = map[string]string{"a": "b"} }, "sh", "-c", "echo ran > /ran; exec sleep 1000")
	ran := filepath.Join(bundle, "rootfs/ran")
	pidFile := filepath.Join(p.dir, "pid")

	for _, command := range []string{"create", "start", "state", "delete", "pause", "resume"} {
		p.fails(1, `requires exactly 1 argument(s)`, command)
	}
	p.fails(1, "requires a minimum of 1 argument(s)", "kill")
	p.fails(1, "does not exist", "start", "c")
	p.fails(1, "config.json not found", "create", "--bundle", p.dir, "c")

	p.must("create", "--bundle", bundle, "--pid-file", pidFile, "c")
	s := p.state("c")
	if s.Status != specs.StateCreated || s.Version != specs.Version || s.ID != "c" || s.Bundle != bundle ||
		s.Rootfs != bundle+"/rootfs" || s.Annotations["a"] != "b" || s.Owner != "root" || s.Pid == 0 {
		t.Errorf("state %+v", s)
	}
	if b, err := os.ReadFile(pidFile); err != nil || string(b) != strconv.Itoa(s.Pid) {
		t.Errorf("pid file %q %v, the process is %d", b, err, s.Pid)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the program ran before its start")
	}
	p.fails(1, "container exists", "create", "--bundle", bundle, "c")
	p.must("start", "c")
	p.await("c", specs.StateRunning)
	p.fails(1, "already running", "start", "c")
	p.fails(1, "not stopped", "delete", "c")
	waitFor(t, func() bool { _, err := os.Stat(ran); return err == nil })
	p.must("kill", "c", "KILL")
	p.await("c", specs.StateStopped)
	p.fails(1, "container not running", "kill", "c", "TERM")
	p.fails(1, "has stopped", "start", "c")
	p.must("kill", "--all", "c", "9")
	p.must("delete", "c")
	p.fails(1, "container does not exist", "state", "c")
	p.fails(1, "container does not exist", "delete", "c")
	p.must("delete", "--force", "c")

	p.must("create", "--bundle", bundle, "c") // never started
	p.must("kill", "c", "TERM")
	p.await("c", specs.StateStopped)
	p.must("delete", "c")
	p.must("create", "--bundle", bundle, "c")
	p.must("delete", "c")
}

func TestErrorsOfCreate(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.fails(1, "executable file not found in $PATH", "create", "--bundle", p.bundle(nil, "nosuch"), "c")
	p.fails(1, "permission denied", "create", "--bundle", p.bundle(nil, "/bin"), "c")
	p.fails(1, "invalid", "create", "--bundle", p.bundle(nil, "true"), "../c")
	p.fails(1, "--console-socket", "create", "--bundle", p.bundle(func(s *specs.Spec) { s.Process.Terminal = true }, "true"), "c")
	p.fails(1, "--console-socket", "create", "--console-socket", "/x", "--bundle", p.bundle(nil, "true"), "c")
	p.fails(1, "not open", "create", "--preserve-fds", "1", "--bundle", p.bundle(nil, "true"), "c")
	for what, change := range map[string]func(*specs.Spec){
		"linux.intelRdt":     func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "x"} },
		"linux.memoryPolicy": func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} },
		"linux.netDevices": func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {}}
		},
		"listeners": func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/x"}
		},
		"ociVersion":               func(s *specs.Spec) { s.Version = "2.0.0" },
		"is for systemd":           func(s *specs.Spec) { s.Linux.CgroupsPath = "user.slice:tutti:x" },
		"every cgroup of the host": func(s *specs.Spec) { s.Linux.CgroupsPath = "/x/.." },
		"a time namespace":         func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}} },
		"given twice":              func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) },
		"not an absolute path":     func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "x"}}} },
		"unknown resource limit":   func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_X" },
		"unknown scheduler policy": func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "x"} },
		"personality flags": func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"x"}}
		},
	} {
		p.fails(1, what, "create", "--bundle", p.bundle(change, "true"), "c")
	}
	// An unknown capability is a warning (config.md, "Linux Process").
	unknown := p.bundle(func(s *specs.Spec) {
		s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_TEST")
	}, "true")
	if r := p.run("run", "--bundle", unknown, "c"); r.code != 0 || !strings.Contains(r.stderr, `level=warning msg="unknown capability \"CAP_TEST\""`) {
		t.Error(r)
	}
}

func TestGlobalFlags(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.fails(1, "--systemd-cgroup is not supported", "--systemd-cgroup", "list")
	p.fails(1, "--rootless=true is not supported", "--rootless", "true", "list")
	p.fails(1, "checkpoint is not supported", "checkpoint", "c")
	p.fails(1, "no such command", "nosuch")
	if out := p.must("--version"); !strings.HasPrefix(out, "tutti-oci version ") || !strings.Contains(out, "\nspec: "+specs.Version) {
		t.Error(out)
	}
	log := filepath.Join(p.dir, "log.json")
	r := p.run("--log", log, "--log-format", "json", "--debug", "state", "c")
	if r.code != 1 || r.stderr != "container does not exist: \"c\"\n" {
		t.Error(r)
	}
	b, err := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if err != nil || len(lines) != 2 {
		t.Fatalf("%v %q", err, b)
	}
	var line struct{ Level, Msg, Time string }
	if err := json.Unmarshal([]byte(lines[1]), &line); err != nil || line.Level != "error" || line.Msg != `container does not exist: "c"` || line.Time == "" {
		t.Errorf("%v %q", err, lines[1])
	}
	if !strings.Contains(lines[0], `"level":"debug"`) {
		t.Error(lines[0])
	}
	p.fails(1, "unknown --log-format", "--log-format", "xml", "list")
}

func TestRun(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.run("run", "--bundle", p.bundle(nil, "sh", "-c", "echo out; echo err >&2; exit 7"), "c")
	if r.code != 7 || r.stdout != "out\n" || r.stderr != "err\n" {
		t.Error(r)
	}
	p.fails(1, "does not exist", "state", "c")
	p.must("run", "--detach", "--bundle", p.bundle(nil, "sleep", "1000"), "c")
	p.await("c", specs.StateRunning)
	p.must("delete", "--force", "c")
	p.must("run", "--keep", "--bundle", p.bundle(nil, "true"), "c")
	p.await("c", specs.StateStopped)

	cmd := p.command("run", "--preserve-fds", "1", "--bundle", p.bundle(nil, "sh", "-c", `cat <&4; cat <&3; echo $LISTEN_FDS $LISTEN_PID`), "d")
	for _, text := range []string{"three\n", "four\n"} {
		f, err := os.CreateTemp(p.dir, "inherited")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // written below
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
	if r := p.finish(cmd); r.stdout != "four\nthree\n1 1\n" {
		t.Error(r)
	}
}

// A signal to a runtime in the foreground is one for the container.
func TestRunForwardsSignals(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	ready := filepath.Join(p.dir, "out")
	out, err := os.Create(ready)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // the container writes it
	cmd := p.command("run", "--bundle", p.bundle(nil, "sh", "-c", `trap "exit 9" TERM; echo ready; while :; do sleep 0.01; done`), "c")
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { b, _ := os.ReadFile(ready); return string(b) == "ready\n" })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d", code)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if out := p.must("list", "--format", "json"); out != "[]\n" {
		t.Error(out)
	}
	p.started("a", nil, "sleep", "1000")
	p.must("create", "--bundle", p.bundle(nil, "true"), "b")
	if out := p.must("list", "-q"); out != "a\nb\n" {
		t.Error(out)
	}
	table := p.must("list")
	if !strings.HasPrefix(table, "ID ") || !strings.Contains(table, " running ") || !strings.Contains(table, " created ") {
		t.Error(table)
	}
	var list []struct{ ID, Status string }
	p.decode(p.must("list", "--format", "json"), &list)
	if len(list) != 2 || list[0].Status != "running" || list[1].ID != "b" {
		t.Errorf("%+v", list)
	}
	var pids []int
	p.decode(p.must("ps", "--format", "json", "a"), &pids)
	if len(pids) != 1 || pids[0] != p.state("a").Pid {
		t.Errorf("%v, the state says %+v", pids, p.state("a"))
	}
	for _, out := range []string{p.must("ps", "a"), p.must("ps", "a", "-o", "pid,args")} {
		if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || !strings.Contains(lines[1], "sleep 1000") {
			t.Error(out)
		}
	}
	p.fails(1, "invalid format", "list", "--format", "xml")
	p.fails(1, "invalid format", "ps", "--format", "xml", "a")
}

func TestFeaturesAndSpec(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var f features.Features
	p.decode(p.must("features"), &f)
	if f.OCIVersionMax != specs.Version || len(f.Hooks) != 6 || len(f.Linux.Namespaces) != 8 || len(f.Linux.Capabilities) != 41 ||
		!*f.Linux.Cgroup.V1 || !*f.Linux.Cgroup.V2 || *f.Linux.Cgroup.Systemd || !*f.Linux.Seccomp.Enabled || *f.Linux.IntelRdt.Enabled {
		t.Errorf("%+v", f)
	}
	p.must("spec", "--bundle", p.dir)
	p.fails(1, "exists", "spec", "--bundle", p.dir)
	b, err := os.ReadFile(filepath.Join(p.dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	p.decode(string(b), &s)
	if s.Root.Path != "rootfs" || s.Process.Args[0] != "sh" || len(s.Mounts) == 0 || s.Linux.Seccomp == nil {
		t.Errorf("%+v", s)
	}
}

// counters is what `events --stats` says of limits.
type counters struct {
	Type, ID string
	Data     struct {
		Memory struct{ Usage struct{ Limit uint64 } }
		Pids   struct{ Current, Limit uint64 }
	}
}

func TestPauseAndUpdate(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.fails(1, "does not exist", "update", "--pids-limit", "9", "c")
	p.started("c", nil, "sleep", "1000")
	p.must("pause", "c")
	p.await("c", "paused")
	p.fails(255, "paused", "exec", "c", "true")
	p.must("resume", "c")
	p.await("c", specs.StateRunning)
	p.fails(1, "not paused", "resume", "c")

	read := func() (c counters) {
		p.decode(p.must("events", "--stats", "c"), &c)
		return c
	}
	p.must("update", "--memory", "67108864", "--pids-limit", "17", "--cpu-quota", "50000", "--cpu-period", "100000", "--cpu-share", "512", "c")
	if c := read(); c.Type != "stats" || c.ID != "c" || c.Data.Memory.Usage.Limit != 64<<20 || c.Data.Pids.Limit != 17 || c.Data.Pids.Current == 0 {
		t.Errorf("%+v", c)
	}
	file := filepath.Join(p.dir, "resources.json")
	if err := os.WriteFile(file, []byte(`{"memory":{"limit":134217728},"pids":{"limit":18}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	p.must("update", "-r", file, "c")
	if c := read(); c.Data.Memory.Usage.Limit != 128<<20 || c.Data.Pids.Limit != 18 {
		t.Errorf("%+v", c)
	}
	cmd := p.command("update", "--resources", "-", "c")
	cmd.Stdin = strings.NewReader(`{"pids":{"limit":19}}`)
	if r := p.finish(cmd); r.code != 0 || read().Data.Pids.Limit != 19 {
		t.Error(r)
	}
	p.fails(1, "not supported", "update", "--l3-cache-schema", "x", "c")
	p.must("pause", "c")
	p.must("kill", "c", "KILL") // reaches a paused one too
	p.await("c", specs.StateStopped)
	p.fails(1, "container not running", "pause", "c")
	p.fails(1, "container not running", "update", "--pids-limit", "9", "c")
	p.fails(1, "container not running", "events", "c")
}
