package scheduler

import (
	"cmp"
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
	"tutti/scheduler/reach"
)

const (
	reachTimeout    = 2 * time.Second // the kernel repeats a lost SYN after 1 s
	reachTimeoutMax = time.Minute
	reachAtOnce     = 8 // checks
)

// Reach finds out by packets who reaches whom in a project.
func (e *Engine) Reach(ctx context.Context, name string, q api.ReachRequest) (api.Reach, error) {
	model, err := e.appliedModel(name)
	if err != nil {
		return api.Reach{}, err
	}
	known := (&inquiry{e: e, name: name, model: model}).services()
	if len(known) == 0 {
		return api.Reach{}, fmt.Errorf("%w project: %s: nothing was brought up, or `down` has taken it away", ErrNoSuch, name)
	}
	if q.From != "" && !slices.Contains(known, q.From) {
		return api.Reach{}, fmt.Errorf("%w service: %s; the services are: %s", ErrNoSuch, q.From, strings.Join(known, ", "))
	}
	s := &survey{e: e, services: map[string]reach.Service{}}
	defer s.close()
	for _, k := range known {
		s.services[k] = s.service(name, k)
	}
	if s.k, err = e.checker(q.Timeout); err != nil {
		return api.Reach{}, err
	}
	askers, checks := known, []check(nil)
	if q.From != "" {
		askers = []string{q.From}
	}
	for _, from := range askers {
		more, err := s.checks(from, known, q.To)
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
func (e *Engine) checker(timeout time.Duration) (*reach.Checker, error) {
	if timeout <= 0 {
		timeout = reachTimeout
	}
	k := &reach.Checker{Timeout: min(timeout, reachTimeoutMax)}
	var err error
	if k.Routers, err = e.net.Routers(); err != nil {
		return nil, err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, server := range e.upstreams.Upstreams() {
		isOwn := slices.ContainsFunc(own, func(a net.Addr) bool { n, ok := a.(*net.IPNet); return ok && n.IP.Equal(server.Addr().AsSlice()) })
		if addr := server.Addr(); addr.Is4() && !addr.IsLoopback() && !isOwn {
			k.Nameservers = append(k.Nameservers, addr)
		}
	}
	return k, nil
}

// survey is one question who reaches whom.
type survey struct {
	e        *Engine
	k        *reach.Checker
	services map[string]reach.Service
	open     []*netns.NS
}

func (s *survey) close() {
	for _, ns := range s.open {
		ns.Close()
	}
}

// checks are those of one service: of a target, or of everything.
func (s *survey) checks(from string, known []string, to string) ([]check, error) {
	asker := s.services[from]
	host := func(port uint16, proto string) check {
		return func(ctx context.Context) api.ReachCheck { return s.k.ToHost(ctx, asker, port, proto) }
	}
	outside := func(ctx context.Context) api.ReachCheck { return s.k.ToOutside(ctx, asker) }
	service := func(name string, port uint16, proto string) check {
		return func(ctx context.Context) api.ReachCheck {
			return s.k.Service(ctx, asker, s.services[name], port, proto)
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
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch {
	case slices.Contains(known, name):
		return []check{service(name, port, proto)}, nil
	case name == api.ReachHost:
		return []check{host(port, proto)}, nil
	case name == api.ReachOutside && port != 0:
		return nil, fmt.Errorf("%w: give an address or a name with the port %s: outside has many", ErrInvalid, strconv.Itoa(int(port)))
	case name == api.ReachOutside:
		return []check{outside}, nil
	case !strings.ContainsAny(name, ".:"): // no address, and no name that makes sense outside
		return nil, fmt.Errorf("%w service: %s; the services are: %s", ErrNoSuch, name, strings.Join(known, ", "))
	}
	return []check{func(ctx context.Context) api.ReachCheck { return s.k.ToAddress(ctx, asker, name, port, proto) }}, nil
}

// service gathers what is known of a service's containers. Those that share a namespace have the networks of its owner.
func (s *survey) service(project, name string) reach.Service {
	all := reach.Service{Name: name}
	for _, u := range s.e.serviceUnits(project, name) {
		state := u.snapshot()
		p := reach.Party{Name: u.config.Name, State: state.Describe(time.Now()), Running: state.Alive(), Ports: servedPorts(&u.config)}
		owner := s.e.netOwner(u)
		p.Host = owner.config.NetworkMode == "host"
		if process := u.running(); process != nil && !p.Host {
			if ns, err := netns.Open(process.NetNS()); err == nil { // it may have ended just now
				p.NS = ns
				s.open = append(s.open, ns)
			}
		}
		for _, at := range owner.snapshot().Endpoints {
			place := reach.Endpoint{Network: at.Network, Addrs: addresses(at), Default: at.DefaultRoute}
			if n, err := s.e.networkByName(at.Network); err == nil {
				icc, err := strconv.ParseBool(n.Options["com.docker.network.bridge.enable_icc"])
				place.Internal, place.NoICC = n.Internal, err == nil && !icc
				if n.Bridged() { // or the gateway is another machine
					place.Gateway = cmp.Or(n.Gateway(true), n.Gateway(false))
				}
			}
			p.Endpoints = append(p.Endpoints, place)
		}
		all.Parties = append(all.Parties, p)
	}
	return all
}

// netOwner is the container whose network namespace a container is in: its own, or that of the one whose it shares.
func (e *Engine) netOwner(u *unit) *unit {
	for range 10 { // nobody shares in a circle, or none of them would have been started
		if !strings.Contains(u.config.NetworkMode, ":") {
			break
		}
		peer, err := e.peer(&u.config, u.config.NetworkMode)
		if err != nil {
			break
		}
		u = peer
	}
	return u
}
