package runtime

import (
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An allocation over the limit is killed, and it is known why.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	s := testSpec(rootfs(t), "sh", "-c", "head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null; exit 3")
	s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(16 << 20)), Swap: new(int64(16 << 20))}
	c := start(t, r, s, CreateOptions{})
	if status, err := c.Wait(testContext(t)); err != nil || status.Code != 3 {
		t.Fatalf("%+v, %v", status, err)
	}
	if !c.OOMKilled() {
		t.Fatal("not OOM-killed")
	}
	if stats, err := c.Stats(); err != nil || stats.Memory.Limit != 16<<20 || stats.Memory.OOMKills == 0 {
		t.Fatalf("%+v, %v", stats.Memory, err)
	}
	c = start(t, r, testSpec(rootfs(t), "true"), CreateOptions{})
	if _, err := c.Wait(testContext(t)); err != nil || c.OOMKilled() {
		t.Fatal("OOM-killed without a limit", err)
	}
}

func TestPidsLimit(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all started")
	s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(5))}
	out, _ := run(t, newRuntime(t), s)
	if !strings.Contains(out, "can't fork") || strings.Contains(out, "all started") {
		t.Fatal(out)
	}
	// One process and no more: init itself needs no room.
	s = testSpec(rootfs(t), "echo", "alone")
	s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(1))}
	if out, status := run(t, newRuntime(t), s); out != "alone\n" || status.Code != 0 {
		t.Fatal(out, status)
	}
}

func TestCPULimit(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "sh", "-c", "while :; do :; done")
	s.Linux.Resources.CPU = &specs.LinuxCPU{Quota: new(int64(5000)), Period: new(uint64(50000)), Shares: new(uint64(512)), Cpus: "0"}
	c := start(t, newRuntime(t), s, CreateOptions{})
	deadline := time.Now().Add(patience)
	for {
		stats, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if stats.CPU.Throttled > 2 && stats.CPU.Usage > 0 && stats.Pids.Current == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not throttled: %+v", stats.CPU)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// An impossible limit is an error, and nothing stays.
func TestUnsupportedLimit(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "true")
	s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "4711"}
	if _, err := newRuntime(t).Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil || !strings.Contains(err.Error(), "cpuset.cpus") {
		t.Fatal(err)
	}
}
