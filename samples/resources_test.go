package samples

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These tests run on this machine and, in samples/guest, on cgroup v2 beside systemd.

// unified tells whether this machine's controllers are those of cgroup v2.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// either is the text for cgroup v1, or that for v2.
func either(v1, v2 string) string {
	if unified() {
		return v2
	}
	return v1
}

// record reads the state of a service's container as the engine remembers it.
func (s *site) record(service string) (r struct {
	ID    string
	State struct {
		Status    string
		Pid       int
		ExitCode  int
		OOMKilled bool
		Started   time.Time
	}
},
) {
	s.t.Helper()
	files, _ := filepath.Glob(filepath.Join(s.root, "containers/*/container.json"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		var c struct{ Service string }
		if json.Unmarshal(b, &c) == nil && c.Service == service {
			if err := json.Unmarshal(b, &r); err != nil {
				s.t.Fatal(err)
			}
			return r
		}
	}
	s.t.Fatalf("service %s has no container", service)
	return r
}

// An allocation beyond mem_limit is ended by the kernel, and nothing else is.
func TestResourceMemory(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  eater:
    image: busybox:latest
    command: tail /dev/zero # keeps a line that does not end
    mem_limit: 24m
    memswap_limit: 24m
  modest:
    image: busybox:latest
    command: sleep 1000
    deploy: {resources: {limits: {memory: 24m}}}
`)
	s.must("up", "-d")
	eventually(t, 5*time.Minute, func() error {
		if r := s.record("eater"); r.State.Status != "exited" {
			return errors.New("it is " + r.State.Status)
		}
		return nil
	})
	if r := s.record("eater"); r.State.ExitCode != 137 || !r.State.OOMKilled {
		t.Errorf("%+v", r.State)
	}
	if r := s.record("modest"); r.State.Status != "running" || r.State.OOMKilled {
		t.Errorf("%+v", r.State)
	}
}

// A spinner gets the share of processors that it may have, on the processors that it may use.
func TestResourceCPU(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  spinner:
    image: busybox:latest
    command: sh -c 'while :; do :; done'
    cpus: 0.2
    cpuset: "0"
    stop_grace_period: 0s
`)
	s.must("up", "-d")
	throttled := func(more int) {
		t.Helper()
		eventually(t, 5*time.Minute, func() error {
			stat := s.must("exec", "-T", "spinner", "cat", either("/sys/fs/cgroup/cpu/cpu.stat", "/sys/fs/cgroup/cpu.stat"))
			if field(stat, "nr_throttled") < more {
				return fmt.Errorf("not throttled %d times: %s", more, stat)
			}
			return nil
		})
	}
	throttled(1)
	pid := s.record("spinner").State.Pid
	began, before := time.Now(), cpuTime(t, pid)
	throttled(20)
	// A fifth of one processor, and the periods at both ends.
	if used, most := cpuTime(t, pid)-before, time.Since(began)/5+200*time.Millisecond; used > most {
		t.Errorf("within %v: %v of processor time, %v allowed", time.Since(began), used, most)
	}
	if list := s.must("exec", "-T", "spinner", "grep", "Cpus_allowed_list", "/proc/1/status"); strings.TrimSpace(strings.TrimPrefix(list, "Cpus_allowed_list:")) != "0" {
		t.Error(list)
	}
}

// field is the number behind a key in a file of lines "key number".
func field(text, key string) int {
	for line := range strings.Lines(text) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			n, _ := strconv.Atoi(v)
			return n
		}
	}
	return 0
}

// cpuTime is the processor time that a process has used, proc_pid_stat(5).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / 100
}

// A fork bomb stops at pids_limit, and ends with its container.
func TestResourcePids(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  bomb:
    image: busybox:latest
    command: sh -c '(b() { b | b & sleep 1000; }; b) & exec sleep 1000' # the first process needs no fork, and so lasts
    pids_limit: 30
    init: true
    stop_grace_period: 0s
`)
	s.must("up", "-d")
	file := filepath.Join(cgroupOf(t, s.record("bomb").State.Pid, "pids"), "pids.events")
	eventually(t, 5*time.Minute, func() error {
		b, err := os.ReadFile(file)
		if err == nil && field(string(b), "max") == 0 {
			err = errors.New("no fork was refused")
		}
		return err
	})
	// A shell that cannot fork ends, so that there may be fewer now: what counts is that there are never more.
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(file), name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	for range 1000 {
		if n, err := strconv.Atoi(read("pids.current")); err != nil || n > 30 {
			t.Fatalf("%d processes: %v", n, err)
		}
	}
	if got := read("pids.max"); got != "30" {
		t.Errorf("the kernel's limit is %s", got)
	}
}

// cgroupOf is the folder of a process's group in the hierarchy of a controller.
func cgroupOf(t *testing.T, pid int, controller string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if unified() && f[0] == "0" {
			return "/sys/fs/cgroup" + f[2]
		}
		for c := range strings.SplitSeq(f[1], ",") {
			if c == controller {
				return filepath.Join("/sys/fs/cgroup", controller, f[2])
			}
		}
	}
	t.Fatalf("no hierarchy has %s: %s", controller, b)
	return ""
}

// Every other limit as the kernel has it.
func TestResourceFiles(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  flat:
    image: busybox:latest
    command: sleep 1000
    mem_limit: 64m
    memswap_limit: 96m
    mem_reservation: 32m
    cpu_quota: 50000
    cpu_period: 200000
    cpu_shares: 512
    pids_limit: 77
    oom_score_adj: 321
  deploy:
    image: busybox:latest
    command: sleep 1000
    deploy:
      resources:
        limits: {memory: 48m, cpus: "0.5", pids: 55}
        reservations: {memory: 16m, cpus: "0.25"}
  free:
    image: busybox:latest
    command: sleep 1000
    mem_limit: 64m
    memswap_limit: -1
    pids_limit: -1
`)
	r := s.run("up", "-d")
	if r.code != 0 || !strings.Contains(r.stderr, "`deploy.resources.reservations.cpus: 0.25` has no effect") {
		t.Fatal(r)
	}
	type values map[string]string
	wants := map[string]values{
		"flat": {
			"memory/memory.limit_in_bytes": "67108864", "memory/memory.memsw.limit_in_bytes": "100663296",
			"memory/memory.soft_limit_in_bytes": "33554432", "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "200000",
			"cpu/cpu.shares": "512", "pids/pids.max": "77",
		},
		"deploy": {
			"memory/memory.limit_in_bytes": "50331648", "memory/memory.memsw.limit_in_bytes": "100663296",
			"memory/memory.soft_limit_in_bytes": "16777216", "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000",
			"pids/pids.max": "55",
		},
		"free": {"pids/pids.max": "max"},
	}
	if unified() {
		wants = map[string]values{
			"flat": {
				"memory.max": "67108864", "memory.swap.max": "33554432", "memory.low": "33554432", "cpu.max": "50000 200000",
				"cpu.weight": "59", "pids.max": "77",
			},
			"deploy": {"memory.max": "50331648", "memory.swap.max": "50331648", "memory.low": "16777216", "cpu.max": "50000 100000", "pids.max": "55"},
			"free":   {"memory.max": "67108864", "memory.swap.max": "max", "pids.max": "max"},
		}
	}
	for service, files := range wants {
		for file, want := range files {
			if got := strings.TrimSpace(s.must("exec", "-T", service, "cat", "/sys/fs/cgroup/"+file)); got != want {
				t.Errorf("%s: %s is %s, want %s", service, file, got, want)
			}
		}
	}
	if got := s.must("exec", "-T", "flat", "cat", "/proc/1/oom_score_adj"); got != "321\n" {
		t.Errorf("oom_score_adj %s", got)
	}
}

// What only one version of cgroups can do is set there, and warned about or refused, in docker's words, on the other.
func TestResourcesOfOneVersion(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  old:
    image: busybox:latest
    command: sleep 1000
    mem_limit: 64m
    mem_swappiness: 7
    oom_kill_disable: true
`)
	s.write("realtime.yaml", `
services:
  realtime:
    image: busybox:latest
    command: sleep 1000
    cpu_rt_period: 1000000
    cpu_rt_runtime: 20000
`)
	r := s.run("up", "-d")
	if r.code != 0 {
		t.Fatal(r)
	}
	if unified() {
		for _, warning := range []string{"Your kernel does not support OomKillDisable. OomKillDisable discarded.", "Memory swappiness discarded."} {
			if !strings.Contains(r.stderr, warning) {
				t.Errorf("no warning %q: %s", warning, r)
			}
		}
	} else {
		for file, want := range map[string]string{"memory.swappiness": "7", "memory.oom_control": "oom_kill_disable 1"} {
			if got := s.must("exec", "-T", "old", "cat", "/sys/fs/cgroup/memory/"+file); !strings.HasPrefix(got, want) {
				t.Errorf("%s is %s", file, got)
			}
		}
	}
	r = s.run("-f", "realtime.yaml", "up", "-d")
	if _, err := os.Stat("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"); err != nil {
		if r.code == 0 || !strings.Contains(r.stderr, "your kernel does not support cgroup cpu real-time period") {
			t.Error(r)
		}
		return
	}
	if r.code != 0 {
		t.Fatal(r)
	}
	if got := s.must("-f", "realtime.yaml", "exec", "-T", "realtime", "cat", "/sys/fs/cgroup/cpu/cpu.rt_runtime_us"); got != "20000\n" {
		t.Errorf("real-time runtime %s", got)
	}
}
