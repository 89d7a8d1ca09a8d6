package scheduler

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tutti/netdriver/netns"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/scheduler/names"
	"tutti/scheduler/reach"
)

const (
	reachTimeout    = 2 * time.Second // the kernel repeats a lost SYN after 1 s
	reachTimeoutMax = time.Minute
	reachAtOnce     = 8 // checks
)

// Reach finds out by packets who reaches whom in a project.
func (s *Scheduler) Reach(ctx context.Context, name string, q api.ReachRequest) (api.Reach, error) {
	model, err := s.AppliedModel(name)
	if err != nil {
		return api.Reach{}, err
	}
	known := (&inquiry{s: s, name: name, model: model}).services()
	if len(known) == 0 {
		return api.Reach{}, fmt.Errorf("%w project: %s: nothing was brought up, or `down` has taken it away", engine.ErrNoSuch, name)
	}
	if q.From != "" && !slices.Contains(known, q.From) {
		return api.Reach{}, fmt.Errorf("%w service: %s; the services are: %s", engine.ErrNoSuch, q.From, strings.Join(known, ", "))
	}
	v := &survey{e: s.Engine, services: map[string]reach.Service{}}
	defer v.close()
	for _, k := range known {
		v.services[k] = v.service(name, k)
	}
	if v.k, err = s.checker(ctx, q.Timeout); err != nil {
		return api.Reach{}, err
	}
	askers, checks := known, []check(nil)
	if q.From != "" {
		askers = []string{q.From}
	}
	for _, from := range askers {
		more, err := v.checks(from, known, q.To)
		if err != nil {
			return api.Reach{}, err
		}
		checks = append(checks, more...)
	}
	return api.Reach{Project: name, At: time.Now().UTC(), Checks: atOnce(ctx, checks)}, nil
}

// check is one check to be made.
type check func(context.Context) api.ReachCheck

// atOnce makes checks, some at a time, and returns what they found in their order.
func atOnce(ctx context.Context, checks []check) []api.ReachCheck {
	found := make([]api.ReachCheck, len(checks))
	places := make(chan struct{}, reachAtOnce)
	var wg sync.WaitGroup
	for i, c := range checks {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			found[i] = c(ctx)
		})
	}
	wg.Wait()
	return found
}

// checker knows the host's surroundings.
func (s *Scheduler) checker(ctx context.Context, timeout time.Duration) (*reach.Checker, error) {
	if timeout <= 0 {
		timeout = reachTimeout
	}
	k := &reach.Checker{Timeout: min(timeout, reachTimeoutMax)}
	var err error
	if k.Routers, err = s.NetDriver.Routers(); err != nil {
		return nil, err
	}
	if k.Dropper, err = s.NetDriver.OtherBackend(ctx); err != nil {
		return nil, err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, server := range s.Upstreams.Upstreams() {
		isOwn := slices.ContainsFunc(own, func(a net.Addr) bool { n, ok := a.(*net.IPNet); return ok && n.IP.Equal(server.Addr().AsSlice()) })
		if addr := server.Addr(); !addr.IsLoopback() && !isOwn {
			k.Nameservers = append(k.Nameservers, addr)
		}
	}
	return k, nil
}

// survey is one question who reaches whom.
type survey struct {
	e        *engine.Engine
	k        *reach.Checker
	services map[string]reach.Service
	open     []*netns.NS
}

func (v *survey) close() {
	for _, ns := range v.open {
		ns.Close()
	}
}

// checks are those of one service: of a target, or of everything.
func (v *survey) checks(from string, known []string, to string) ([]check, error) {
	asker := v.services[from]
	host := func(port uint16, proto string) check {
		return func(ctx context.Context) api.ReachCheck { return v.k.ToHost(ctx, asker, port, proto) }
	}
	outside := func(ctx context.Context) api.ReachCheck { return v.k.ToOutside(ctx, asker) }
	service := func(name string, port uint16, proto string) check {
		return func(ctx context.Context) api.ReachCheck {
			return v.k.Service(ctx, asker, v.services[name], port, proto)
		}
	}
	if to == "" {
		var all []check
		for _, name := range known {
			all = append(all, service(name, 0, ""))
		}
		return append(all, host(0, ""), outside), nil
	}
	name, port, proto, err := reach.ParseTarget(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalid, err)
	}
	switch {
	case slices.Contains(known, name):
		return []check{service(name, port, proto)}, nil
	case name == api.ReachHost:
		return []check{host(port, proto)}, nil
	case name == api.ReachOutside && port != 0:
		return nil, fmt.Errorf("%w: give an address or a name with the port %s: outside has many", engine.ErrInvalid, strconv.Itoa(int(port)))
	case name == api.ReachOutside:
		return []check{outside}, nil
	case !strings.ContainsAny(name, ".:"): // no address, and no name that makes sense outside
		return nil, fmt.Errorf("%w service: %s; the services are: %s", engine.ErrNoSuch, name, strings.Join(known, ", "))
	}
	return []check{func(ctx context.Context) api.ReachCheck { return v.k.ToAddress(ctx, asker, name, port, proto) }}, nil
}

// service gathers what is known of a service's containers. Those that share a namespace have the networks of its owner.
func (v *survey) service(project, name string) reach.Service {
	all := reach.Service{Name: name}
	for _, u := range v.e.ServiceUnits(project, name) {
		state := u.Snapshot()
		p := reach.Party{Name: u.Name(), State: state.Describe(time.Now()), Running: state.Alive(), Ports: names.ServedPorts(&u.Config)}
		owner := v.netOwner(u)
		p.Host = owner.Config.NetworkMode == "host"
		if process := u.Running(); process != nil && !p.Host {
			if ns, err := netns.Open(process.NetNS()); err == nil { // it may have ended just now
				p.NS = ns
				v.open = append(v.open, ns)
			}
		}
		for _, at := range owner.Snapshot().Endpoints {
			place := reach.Endpoint{Network: at.Network, Addrs: at.Addresses(), Default: at.DefaultRoute}
			if n, err := v.e.NetworkByName(at.Network); err == nil {
				place.Driver, place.Internal, place.NoICC = n.Driver, n.Internal, n.Apart()
				place.Gateway = n.HostAddress()
			}
			p.Endpoints = append(p.Endpoints, place)
		}
		all.Parties = append(all.Parties, p)
	}
	return all
}

// netOwner is the container whose network namespace a container is in: its own, or that of the one whose it shares.
func (v *survey) netOwner(u *engine.Unit) *engine.Unit {
	for range 10 { // nobody shares in a circle, or none of them would have been started
		if !strings.Contains(u.Config.NetworkMode, ":") {
			break
		}
		peer, err := v.e.Peer(&u.Config, u.Config.NetworkMode)
		if err != nil {
			break
		}
		u = peer
	}
	return u
}
