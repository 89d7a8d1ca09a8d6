package scheduler

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

func TestParseSignal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]syscall.Signal{"": 15, "SIGQUIT": 3, "quit": 3, "9": 9, "SIGRTMIN+3": 37, "rtmin+0": 34} {
		if got, err := ParseSignal(text); err != nil || got != want {
			t.Errorf("%q: got %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"SIGNONSENSE", "0", "65", "-1", "SIGRTMIN+99"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("%q: got %d", text, got)
		}
	}
}

func TestPortSpecs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		port container.Port
		want netdriver.PortSpec
		err  string
	}{
		{port: container.Port{Target: 80, Protocol: "tcp", Published: "8080"}, want: netdriver.PortSpec{Proto: "tcp", ContainerPort: 80, HostPort: 8080, HostPortEnd: 8080}},
		{port: container.Port{Target: 80, Protocol: "udp", Published: "8080-8090"}, want: netdriver.PortSpec{Proto: "udp", ContainerPort: 80, HostPort: 8080, HostPortEnd: 8090}},
		{port: container.Port{Target: 80, Protocol: "tcp"}, want: netdriver.PortSpec{Proto: "tcp", ContainerPort: 80}},
		{port: container.Port{Target: 80, Published: "70000"}, err: "70000"},
		{port: container.Port{Target: 80, Published: "90-80"}, err: "90-80"},
		{port: container.Port{Target: 80, Published: "x"}, err: `"x"`},
		{port: container.Port{Target: 80, HostIP: "nowhere"}, err: "host_ip"},
	}
	for _, tt := range tests {
		got, err := portSpecs([]container.Port{tt.port})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: got %v, want %q in it", tt.port, err, tt.err)
			}
			continue
		}
		if err != nil || got[0] != tt.want {
			t.Errorf("%+v: got %+v %v", tt.port, got, err)
		}
	}
}

func TestNetworkSpecRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	no := false
	tests := []struct {
		name string
		in   types.NetworkConfig
		want string
	}{
		{"gateway outside", types.NetworkConfig{Ipam: types.IPAMConfig{Config: []*types.IPAMPool{{Subnet: "10.1.0.0/24", Gateway: "10.2.0.1"}}}}, "not in the subnet"},
		{"gateway alone", types.NetworkConfig{Ipam: types.IPAMConfig{Config: []*types.IPAMPool{{Gateway: "10.2.0.1"}}}}, "need a subnet"},
		{"not a subnet", types.NetworkConfig{Ipam: types.IPAMConfig{Config: []*types.IPAMPool{{Subnet: "10.1/24"}}}}, "subnet"},
		{"ipam driver", types.NetworkConfig{Ipam: types.IPAMConfig{Driver: "dhcp"}}, `"dhcp"`},
		{"no IPv4", types.NetworkConfig{EnableIPv4: &no}, "must be enabled"},
	}
	for _, tt := range tests {
		tt.in.Name = "demo_n"
		if _, err := networkSpec(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "demo_n") {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

func TestImagesFirst(t *testing.T) {
	t.Parallel()
	images, rest := imagesFirst(&plan.Plan{Ops: []plan.Op{
		{ID: "net", Kind: plan.CreateNetwork}, {ID: "pull", Kind: plan.PullImage}, {ID: "make", Kind: plan.CreateContainer, After: []string{"net", "pull"}},
	}})
	if len(images.Ops) != 1 || images.Ops[0].ID != "pull" {
		t.Errorf("images: %v", images.Ops)
	}
	if len(rest.Ops) != 2 || strings.Join(rest.Ops[1].After, " ") != "net" {
		t.Errorf("rest: %v", rest.Ops)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	with := &unit{config: container.Config{Name: "c", Health: &supervise.HealthCheck{}}}
	without := &unit{config: container.Config{Name: "c"}}
	healthy := &supervise.Health{Status: "healthy"}
	sick := &supervise.Health{Status: "unhealthy", Log: []supervise.ProbeResult{{Code: 7, Output: "cough\n"}}}
	tests := []struct {
		name  string
		check func(container.State) (bool, error)
		state container.State
		done  bool
		err   string
	}{
		{"healthy", isHealthy(with, false), container.State{Status: container.Running, Health: healthy}, true, ""},
		{"starting", isHealthy(with, false), container.State{Status: container.Running, Health: &supervise.Health{Status: "starting"}}, false, ""},
		{"unhealthy", isHealthy(with, false), container.State{Status: container.Running, Health: sick}, false, "unhealthy: the last probe ended with 7: cough"},
		{"exited", isHealthy(with, false), container.State{Status: container.Exited, ExitCode: 2}, false, "exited (2)"},
		{"no health check", isHealthy(without, false), container.State{Status: container.Running}, false, "no healthcheck"},
		{"--wait without health check", isHealthy(without, true), container.State{Status: container.Running}, true, ""},
		{"--wait for a job that ended well", isHealthy(without, true), container.State{Status: container.Exited}, true, ""},
		{"--wait for a job that failed", isHealthy(without, true), container.State{Status: container.Exited, ExitCode: 1}, false, "exited (1)"},
		{"completed", hasCompleted(without), container.State{Status: container.Exited}, true, ""},
		{"completes", hasCompleted(without), container.State{Status: container.Running}, false, ""},
		{"restarts", hasCompleted(without), container.State{Status: container.Restarting, ExitCode: 1}, false, ""},
		{"failed", hasCompleted(without), container.State{Status: container.Exited, ExitCode: 3}, false, "exit 3"},
	}
	for _, tt := range tests {
		done, err := tt.check(tt.state)
		if done != tt.done || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %v %v", tt.name, done, err)
		}
	}
}

func TestKeyedMutex(t *testing.T) {
	t.Parallel()
	var k keyedMutex
	unlock, err := k.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := k.lock(t.Context(), "b") // another name does not wait
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a second lock: %v", err)
	}
	var second atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		u, err := k.lock(t.Context(), "a")
		if err == nil {
			second.Store(true)
			u()
		}
	}()
	if second.Load() {
		t.Error("two hold the same lock")
	}
	unlock()
	<-done
	if !second.Load() || len(k.locks) != 0 {
		t.Errorf("second=%v, %d locks left", second.Load(), len(k.locks))
	}
}

func TestIdleWaitsForEverythingToEnd(t *testing.T) {
	t.Parallel()
	a := newActivity()
	end := a.begin()
	idle := make(chan struct{})
	go func() { a.waitIdle(nil, time.Millisecond); close(idle) }()
	select {
	case <-idle:
		t.Fatal("idle while something goes on")
	case <-time.After(20 * time.Millisecond):
	}
	end()
	end() // counts once
	select {
	case <-idle:
	case <-time.After(5 * time.Second):
		t.Fatal("never idle")
	}
}

func TestBusLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBus(func(change) {})
	l := b.listen()
	for i := range 1000 {
		b.send(change{kind: changeExited, code: i})
	}
	l.close()
	b.send(change{})
	got := 0
	<-l.wake
	for _, c := range l.take() {
		if c.code != got {
			t.Fatalf("change %d has code %d", got, c.code)
		}
		got++
	}
	if got != 1000 {
		t.Errorf("got %d changes", got)
	}
}
