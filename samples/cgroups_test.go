package samples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// blkio_config slows reading from a device down.
func TestResourceBlockIO(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	file := filepath.Join(s.dir, "disk")
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	s.write("compose.yaml", fmt.Sprintf(`
services:
  reader:
    image: busybox:latest
    command: sleep 1000
    devices: ["%[1]s:/dev/disk"]
    stop_grace_period: 0s
    blkio_config:
      device_read_bps: [{path: %[1]s, rate: 1mb}]
      device_write_iops: [{path: %[1]s, rate: 1000}]
`, device))
	s.must("up", "-d")
	began := time.Now()
	s.must("exec", "-T", "reader", "dd", "if=/dev/disk", "of=/dev/null", "bs=64k", "count=48", "iflag=direct")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("3 MB at 1 MB/s took %v", took)
	}
	// A weight needs a scheduler that knows of weights.
	s.write("weight.yaml", "services: {w: {image: 'busybox:latest', command: sleep 1000, stop_grace_period: 0s, blkio_config: {weight: 300}}}\n")
	r := s.run("-f", "weight.yaml", "up", "-d")
	if r.code != 0 {
		t.Fatal(r)
	}
	dir := cgroupOf(t, s.record("w").State.Pid, "blkio")
	got := ""
	for _, f := range []string{"blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight"} {
		b, _ := os.ReadFile(filepath.Join(dir, f))
		got += strings.TrimSpace(string(b)) + " "
	}
	if warned := strings.Contains(r.stderr, "Your kernel does not support Block I/O weight"); warned == (strings.Contains(got, "300") || strings.Contains(got, "2930")) {
		t.Errorf("weight %q, and: %s", got, r)
	}
}

// cgroup says what a container sees of the tree, cgroup_parent where its group is.
func TestCgroupNamespaceAndParent(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	outside := "/e2e-" + filepath.Base(filepath.Dir(s.root))
	s.write("compose.yaml", `
services:
  private: {image: 'busybox:latest', command: sleep 1000, cgroup: private, cgroup_parent: `+outside+`}
  host: {image: 'busybox:latest', command: sleep 1000, cgroup: host, cgroup_parent: group/of-mine}
`)
	t.Cleanup(func() { // made for the container, but whose it is nobody can know: it stays, as with docker
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + outside)
		for _, d := range append(dirs, "/sys/fs/cgroup"+outside) {
			if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	s.must("up", "-d")
	defer s.must("down", "-t", "0")
	for service, parent := range map[string]string{"private": outside, "host": "/group/of-mine"} {
		r := s.record(service)
		dir := cgroupOf(t, r.State.Pid, "memory")
		if !strings.HasSuffix(dir, parent+"/"+r.ID) || service == "private" && dir != filepath.Join("/sys/fs/cgroup", either("memory", ""), parent, r.ID) {
			t.Errorf("%s is in %s", service, dir)
		}
		seen := s.must("exec", "-T", service, "cat", "/proc/self/cgroup")
		if got := strings.Contains(seen, r.ID); got != (service == "host") {
			t.Errorf("%s sees %s", service, seen)
		}
	}
	// The group of one container that is gone is gone; its neighbour's is not.
	s.must("kill", "host")
	eventually(t, commandTimeout, func() error {
		if r := s.record("host"); r.State.Status != "exited" {
			return errors.New(r.State.Status)
		}
		return nil
	})
	if r := s.record("private"); r.State.Status != "running" {
		t.Errorf("%+v", r.State)
	}
}

// Limits that cannot be are refused before anything is made, with docker's reasons.
func TestImpossibleResources(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	for yaml, want := range map[string]string{
		"mem_limit: 1m":                                  "minimum memory limit allowed is 6MB",
		"memswap_limit: 64m":                             "you should always set the memory limit",
		"mem_limit: 64m, memswap_limit: 32m":             "memoryswap limit should be larger",
		"mem_limit: 64m, mem_reservation: 96m":           "can not be less than memory reservation",
		"mem_swappiness: 101":                            "range is 0-100",
		"cpus: 4711":                                     "CPUs available",
		"cpus: 1, cpu_quota: 50000":                      "cannot both be set",
		"cpu_period: 10":                                 "can not be less than 1ms",
		"cpuset: 4000-4001":                              "requested CPUs are not available",
		"cpuset: zero":                                   "is no list of numbers",
		"cgroup_parent: ../../escape":                    "must not contain ..",
		"blkio_config: {weight: 5}":                      "from 10 to 1000",
		"cpu_rt_period: 1000, cpu_rt_runtime: 2000":      "cannot be higher than",
		"deploy: {resources: {limits: {memory: 1000k}}}": "minimum memory limit allowed is 6MB",
	} {
		s.write("compose.yaml", "services: {web: {image: 'busybox:latest', command: sleep 1000, "+yaml+"}}\n")
		r := s.run("up", "-d")
		if r.code == 0 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "web") {
			t.Errorf("%s: %s", yaml, r)
		}
	}
	s.mustBeEmpty("project")
}
