package engine

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
	"tutti/runtime"
	"tutti/scheduler/container"
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

// A start records that the container runs before it has the process, and an end the other way round: who asks for the process
// in such a moment gets it when it is there, or nothing when the container has ended.
func TestProcessOfAStartUnderWay(t *testing.T) {
	t.Parallel()
	running := func() *Unit {
		return &Unit{state: container.State{Status: container.Running}, changed: make(chan struct{}), removed: true}
	}
	for name, c := range map[string]struct {
		then func(*Unit, *runtime.Container) error
		want bool
	}{
		"it starts": {func(u *Unit, p *runtime.Container) error { u.setProcess(p, nil, nil); return nil }, true},
		"it ends": {func(u *Unit, _ *runtime.Container) error {
			_, err := u.update(func(s *container.State) { s.Status = container.Exited })
			return err
		}, false},
	} {
		u, p := running(), &runtime.Container{}
		got, failed := make(chan *runtime.Container, 1), make(chan error, 1)
		go func() {
			q, err := u.Process(t.Context())
			got <- q
			failed <- err
		}()
		select {
		case q := <-got:
			t.Errorf("%s: %v before", name, q)
		case <-time.After(20 * time.Millisecond):
		}
		if err := c.then(u, p); err != nil {
			t.Fatal(err)
		}
		if q, err := <-got, <-failed; err != nil || (q == p) != c.want {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
	if q, err := (&Unit{state: container.State{Status: container.Exited}}).Process(t.Context()); q != nil || err != nil {
		t.Errorf("of one that has ended: %v, %v", q, err)
	}
}

// What needs the process of a container waits for a start under way, here until it is given up.
func TestWaitsForAStartUnderWay(t *testing.T) {
	t.Parallel()
	u := &Unit{ID: "1", Config: container.Config{ID: "1", Name: "peer", IPC: "shareable"}, state: container.State{Status: container.Running}, changed: make(chan struct{})}
	e := &Engine{units: map[string]*Unit{"1": u}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, use := range map[string]func() error{
		"top":    func() error { _, _, err := e.Top(ctx, "peer", ""); return err },
		"resize": func() error { return e.ResizeContainer(ctx, "peer", 80, 25) },
		"network_mode": func() error {
			s := &starter{e: e, u: &Unit{Config: container.Config{NetworkMode: "container:peer"}}}
			return s.namespace(ctx)
		},
		"pid": func() error { return e.share(ctx, &container.Config{Pid: "container:peer"}, &container.SpecOptions{}) },
		"ipc": func() error { return e.share(ctx, &container.Config{IPC: "container:peer"}, &container.SpecOptions{}) },
	} {
		if err := use(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
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
		got, err := PortSpecs([]container.Port{tt.port})
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
		if _, err := NetworkSpec(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "demo_n") {
			t.Errorf("%s: got %v", tt.name, err)
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
	case <-time.After(2 * time.Minute):
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
