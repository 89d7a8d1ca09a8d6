package container

import (
	"reflect"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/runtime/cgroup"
)

// everything is a host that can limit all there is to limit.
var everything = cgroup.Features{
	Memory: true, Swap: true, Reservation: true, Swappiness: true, OOMKillDisable: true, CPUShares: true, CPUQuota: true, CPURealtime: true,
	Cpuset: true, Pids: true, IOWeight: true, IOWeightDevice: true, ReadBps: true, WriteBps: true, ReadIOPS: true, WriteIOPS: true,
	CPUs: "0-3", Mems: "0",
}

func limited(t *testing.T) Config {
	t.Helper()
	var s types.ServiceConfig
	s.MemLimit, s.MemSwapLimit, s.MemReservation, s.MemSwappiness, s.OomKillDisable = 64<<20, 96<<20, 32<<20, 7, true
	s.CPUShares, s.CPUQuota, s.CPUPeriod, s.CPUSet, s.PidsLimit = 512, 50_000, 100_000, "0-1", 7
	s.BlkioConfig = &types.BlkioConfig{
		Weight: 300, WeightDevice: []types.WeightDevice{{Path: "/dev/x", Weight: 10}},
		DeviceReadBps: []types.ThrottleDevice{{Path: "/dev/x", Rate: 1}}, DeviceWriteBps: []types.ThrottleDevice{{Path: "/dev/x", Rate: 2}},
		DeviceReadIOps: []types.ThrottleDevice{{Path: "/dev/x", Rate: 3}}, DeviceWriteIOps: []types.ThrottleDevice{{Path: "/dev/x", Rate: 4}},
	}
	var c Config
	var err error
	if c.Resources, err = resources(s); err != nil {
		t.Fatal(err)
	}
	if c.BlockIO, err = blockIO(s); err != nil {
		t.Fatal(err)
	}
	return c
}

// A host that can everything changes nothing and warns of nothing but what is dangerous; one that can nothing takes away all
// limits, each with docker's words. The configuration itself keeps them.
func TestFit(t *testing.T) {
	t.Parallel()
	c := limited(t)
	same, warnings, err := c.Fit(everything, 4)
	if err != nil || len(warnings) > 0 || !reflect.DeepEqual(same, c) {
		t.Errorf("%+v, %v, %v", same, warnings, err)
	}
	bare, warnings, err := c.Fit(cgroup.Features{}, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
		"Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
		"Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
		"Your kernel does not support OomKillDisable. OomKillDisable discarded.",
		"Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
		"Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
		"Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
		"Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
		"Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
		"Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
		"Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
		"Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
		"Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
		"Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
	} {
		if !strings.Contains(strings.Join(warnings, "\n"), want) {
			t.Errorf("no warning %q in %q", want, warnings)
		}
	}
	if m := bare.Resources.Memory; m.Limit != nil || m.Swap != nil || m.Reservation != nil || m.Swappiness != nil || m.DisableOOMKiller != nil {
		t.Errorf("%+v", m)
	}
	if p := bare.Resources.CPU; p.Shares != nil || p.Quota != nil || p.Period != nil || p.Cpus != "" {
		t.Errorf("%+v", p)
	}
	if bare.Resources.Pids != nil || !reflect.DeepEqual(*bare.BlockIO, BlockIO{}) {
		t.Errorf("%+v %+v", bare.Resources.Pids, bare.BlockIO)
	}
	if !reflect.DeepEqual(c, limited(t)) {
		t.Error("the configuration itself was changed")
	}
	noSwap := everything
	noSwap.Swap = false
	if got, warnings, _ := c.Fit(noSwap, 4); got.Resources.Memory.Swap != nil || got.Resources.Memory.Limit == nil || len(warnings) != 1 ||
		warnings[0] != "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap." {
		t.Errorf("%+v %q", got.Resources.Memory, warnings)
	}
}

// A quota of one's own may exceed the host's processors, cpus may not.
func TestFitRefuses(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		cpus          float64
		quota, period int64
		set           string
		realtime      int64
		want          string
	}{
		{cpus: 4},
		{cpus: 4.01, want: "only 4 CPUs available"},
		{quota: 900_000, period: 100_000},
		{set: "3"},
		{set: "3-4", want: "available: 0-3"},
		{set: "x", want: "no list of numbers"},
		{realtime: 1000},
	} {
		var s types.ServiceConfig
		s.CPUS, s.CPUQuota, s.CPUPeriod, s.CPUSet, s.CPURTRuntime = float32(x.cpus), x.quota, x.period, x.set, x.realtime
		c := Config{Limits: Limits{CPUs: cpuCount(s)}}
		var err error
		if c.Resources, err = resources(s); err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Fit(everything, 4)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %q", c.Resources.CPU, err, x.want)
		}
		if _, _, err := c.Fit(cgroup.Features{}, 4); x.realtime > 0 && (err == nil || !strings.Contains(err.Error(), "does not support cgroup cpu real-time runtime")) {
			t.Error(err)
		}
	}
}

func TestCgroupsPath(t *testing.T) {
	t.Parallel()
	for parent, want := range map[string]string{
		"": "", "/a/b": "/a/b/id", "a": "a/id", "web.slice": "/web.slice/id", "a-b-c.slice": "/a.slice/a-b.slice/a-b-c.slice/id", "-.slice": "/id",
		"/a.slice": "/a.slice/id",
	} {
		c := Config{ID: "id", CgroupParent: parent}
		if got := c.cgroupsPath(); got != want {
			t.Errorf("%q: %q, want %q", parent, got, want)
		}
	}
}

// The limits of deploy win over the flat keys, and what is not limited has no limit.
func TestResources(t *testing.T) {
	t.Parallel()
	var s types.ServiceConfig
	s.MemLimit = 64 << 20
	s.Deploy = &types.DeployConfig{Resources: types.Resources{
		Limits: &types.Resource{MemoryBytes: 128 << 20, NanoCPUs: 0.5, Pids: 9}, Reservations: &types.Resource{MemoryBytes: 32 << 20, NanoCPUs: 0.25},
	}}
	r, err := resources(s)
	if err != nil || *r.Memory.Limit != 128<<20 || *r.Memory.Swap != 256<<20 || *r.Memory.Reservation != 32<<20 || *r.CPU.Quota != 50_000 ||
		*r.CPU.Period != 100_000 || *r.Pids.Limit != 9 {
		t.Errorf("%+v %+v %+v, %v", r.Memory, r.CPU, r.Pids, err)
	}
	if r, err := resources(types.ServiceConfig{}); err != nil || r.Memory != nil || r.CPU != nil || r.Pids != nil {
		t.Errorf("%+v, %v", r, err)
	}
}
