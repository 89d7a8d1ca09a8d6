package fromdocker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/scheduler/plan"
)

// maxNetworks bounds how many networks a container can be made on.
const maxNetworks = 128

// networks are where the container is attached: the mode, which is a network too, and those beside it.
func (w *Wanted) networks(b Body, h Host) error {
	s := &w.Service
	mode, err := peer(string(w.host.NetworkMode), h)
	if err != nil {
		return inWords("NetworkMode: %w", err)
	}
	endpoints := map[string]*apinetwork.EndpointSettings{}
	if b.NetworkingConfig != nil {
		endpoints = b.NetworkingConfig.EndpointsConfig
	}
	if len(endpoints) > maxNetworks {
		return fmt.Errorf("%d networks are too many: a container can be made on %d", len(endpoints), maxNetworks)
	}
	shared := mode == "host" || mode == "none" || strings.HasPrefix(mode, "container:")
	if shared {
		for name, e := range endpoints {
			if name != mode && name != string(w.host.NetworkMode) || e != nil && len(e.Aliases)+len(e.Links) > 0 {
				return fmt.Errorf("conflicting options: a container in the network mode %s cannot be attached to other networks", w.host.NetworkMode)
			}
		}
		s.NetworkMode, w.host.NetworkMode = mode, apicontainer.NetworkMode(mode)
		return w.links(h)
	}
	if strings.Contains(mode, ":") {
		return inWords("NetworkMode: %q is no network", mode)
	}
	w.Project.Networks, s.Networks = types.Networks{}, map[string]*types.ServiceNetworkConfig{}
	first, err := w.network(mode, nil, h)
	if err != nil {
		return err
	}
	for _, ref := range slices.Sorted(maps.Keys(endpoints)) {
		if _, err := w.network(ref, endpoints[ref], h); err != nil {
			return err
		}
	}
	s.Networks[first].Priority = 1
	if len(b.MacAddress) > 0 && s.Networks[first].MacAddress == "" {
		s.MacAddress = b.MacAddress
	}
	return w.links(h)
}

// network adds a network that a client names, and returns its own name. e is nil for no wishes.
func (w *Wanted) network(ref string, e *apinetwork.EndpointSettings, h Host) (string, error) {
	name := ref
	if ref == "default" || ref == "" {
		name = plan.DefaultBridge
	}
	if name != plan.DefaultBridge {
		var err error
		if name, err = h.Network(ref); err != nil {
			return "", err
		}
	}
	n := w.Service.Networks[name]
	if n == nil {
		n = &types.ServiceNetworkConfig{}
		w.Service.Networks[name] = n
		w.Project.Networks[name] = types.NetworkConfig{Name: name}
	}
	if e == nil {
		return name, nil
	}
	if name == plan.DefaultBridge && len(e.Aliases) > 0 {
		return "", fmt.Errorf("network-scoped alias is supported only for containers in user defined networks")
	}
	n.Aliases, n.DriverOpts, n.GatewayPriority = e.Aliases, e.DriverOpts, e.GwPriority
	if len(e.MacAddress) > 0 {
		n.MacAddress = e.MacAddress.String()
	}
	if ip := e.IPAMConfig; ip != nil {
		if name == plan.DefaultBridge && (ip.IPv4Address.IsValid() || ip.IPv6Address.IsValid()) {
			return "", fmt.Errorf("user specified IP address is supported on user defined networks only")
		}
		n.Ipv4Address, n.Ipv6Address = addressText(ip.IPv4Address), addressText(ip.IPv6Address)
		for _, l := range ip.LinkLocalIPs {
			n.LinkLocalIPs = append(n.LinkLocalIPs, addressText(l))
		}
	}
	for _, l := range e.Links {
		if err := w.link(l, h); err != nil {
			return "", err
		}
	}
	return name, nil
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// links are names for other containers that this one alone knows.
func (w *Wanted) links(h Host) error {
	for _, l := range w.host.Links {
		if err := w.link(l, h); err != nil {
			return err
		}
	}
	return nil
}

// link reads NAME[:ALIAS]; what inspect shows, /NAME:/OWN/ALIAS, is taken, too.
func (w *Wanted) link(text string, h Host) error {
	name, alias, ok := strings.Cut(text, ":")
	name = strings.TrimPrefix(name, "/")
	if !ok {
		alias = name
	}
	alias = alias[strings.LastIndexByte(alias, '/')+1:]
	if name == "" || alias == "" || strings.Contains(alias, ":") {
		return fmt.Errorf("bad format for links: %s", text)
	}
	id, err := h.Container(name)
	if err != nil {
		return fmt.Errorf("could not get container for %s: %w", name, err)
	}
	w.Service.ExternalLinks = append(w.Service.ExternalLinks, id+":"+alias)
	return nil
}

// ports are what is published, and what is only exposed; what the image exposes is there anyway.
func (w *Wanted) ports(exposed apinetwork.PortSet) error {
	s, h := &w.Service, w.host
	if h.NetworkMode.IsHost() && (len(h.PortBindings) > 0 || h.PublishAllPorts) {
		w.warn("Published ports are discarded when using host network mode")
		return w.expose(exposed)
	}
	bound := map[apinetwork.Port]bool{}
	for _, p := range sortedPorts(h.PortBindings) {
		if err := checkPort(p); err != nil {
			return err
		}
		bound[p] = true
		bindings := h.PortBindings[p]
		if len(bindings) == 0 { // as docker, which chooses a port for it
			bindings = []apinetwork.PortBinding{{}}
		}
		for _, b := range bindings {
			published, err := hostPort(b.HostPort)
			if err != nil {
				return err
			}
			s.Ports = append(s.Ports, types.ServicePortConfig{Target: uint32(p.Num()), Protocol: string(p.Proto()), HostIP: addressText(b.HostIP), Published: published})
		}
		w.config.ExposedPorts[p] = struct{}{}
	}
	if h.PublishAllPorts {
		for _, p := range sortedPorts(w.config.ExposedPorts) {
			if !bound[p] {
				s.Ports = append(s.Ports, types.ServicePortConfig{Target: uint32(p.Num()), Protocol: string(p.Proto())})
			}
		}
	}
	return w.expose(exposed)
}

func (w *Wanted) expose(exposed apinetwork.PortSet) error {
	for _, p := range sortedPorts(exposed) {
		if err := checkPort(p); err != nil {
			return err
		}
		w.Service.Expose = append(w.Service.Expose, p.String())
	}
	return nil
}

func sortedPorts[V any](ports map[apinetwork.Port]V) []apinetwork.Port {
	return slices.SortedFunc(maps.Keys(ports), func(a, b apinetwork.Port) int {
		if n := int(a.Num()) - int(b.Num()); n != 0 {
			return n
		}
		return strings.Compare(string(a.Proto()), string(b.Proto()))
	})
}

// hostPort refuses what is neither a port nor a range of ports; none and 0 are one that is free.
func hostPort(text string) (string, error) {
	if text == "" || text == "0" {
		return "", nil
	}
	if r, err := apinetwork.ParsePortRange(text); err != nil || strings.Contains(text, "/") || r.Start() == 0 {
		return "", fmt.Errorf("invalid port specification: %q", text)
	}
	return text, nil
}

// checkPort refuses what nobody can listen on.
func checkPort(p apinetwork.Port) error {
	if !p.IsValid() || p.Num() == 0 {
		return fmt.Errorf("invalid port: %q", p)
	}
	if !slices.Contains([]apinetwork.IPProtocol{apinetwork.TCP, apinetwork.UDP, apinetwork.SCTP}, p.Proto()) {
		return fmt.Errorf("invalid proto: %q: use tcp, udp or sctp", p.Proto())
	}
	return nil
}
