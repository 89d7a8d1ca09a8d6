package scheduler

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

// endpointSpecs are the networks of a container in the driver's terms.
func (e *Engine) endpointSpecs(c *container.Config) (all []netdriver.EndpointSpec, byID map[string]string, err error) {
	byID = map[string]string{}
	gateway := defaultRoute(c.Networks, e.isInternal)
	for i, a := range c.Networks {
		n, err := e.networkByName(a.Network)
		if err != nil {
			return nil, nil, err
		}
		byID[n.ID] = n.Name
		s := netdriver.EndpointSpec{NetworkID: n.ID, Name: c.Name, Interface: a.Interface, DefaultRoute: i == gateway}
		if s.Interface == "" {
			s.Interface = "eth" + strconv.Itoa(i)
		}
		if s.IPv4, err = parseAddr("ipv4_address", a.IPv4); err != nil {
			return nil, nil, err
		}
		if s.IPv6, err = parseAddr("ipv6_address", a.IPv6); err != nil {
			return nil, nil, err
		}
		if a.MAC != "" {
			if s.MAC, err = net.ParseMAC(a.MAC); err != nil {
				return nil, nil, fmt.Errorf("mac_address: %w", err)
			}
		}
		all = append(all, s)
	}
	return all, byID, nil
}

// defaultRoute is the index of the network that gives the default route: of those that lead out the one with the highest
// gw_priority, then the first by name, as docker chooses; -1 when none leads out.
func defaultRoute(networks []container.Attachment, internal func(string) bool) int {
	best := -1
	for i, a := range networks {
		if internal(a.Network) {
			continue
		}
		if best < 0 || a.GwPriority > networks[best].GwPriority || a.GwPriority == networks[best].GwPriority && a.Network < networks[best].Network {
			best = i
		}
	}
	return best
}

// isInternal says whether a network has no way out.
func (e *Engine) isInternal(name string) bool {
	n, err := e.networkByName(name)
	return err == nil && n.Internal
}

// portSpecs are the published ports in the driver's terms.
func portSpecs(ports []container.Port) ([]netdriver.PortSpec, error) {
	var all []netdriver.PortSpec
	for _, p := range ports {
		s := netdriver.PortSpec{Proto: p.Protocol, ContainerPort: p.Target}
		var err error
		if s.HostIP, err = parseAddr("host_ip", p.HostIP); err != nil {
			return nil, err
		}
		if p.Published != "" {
			first, last, isRange := strings.Cut(p.Published, "-")
			if !isRange {
				last = first
			}
			from, err1 := strconv.ParseUint(first, 10, 16)
			to, err2 := strconv.ParseUint(last, 10, 16)
			if err := errors.Join(err1, err2); err != nil || to < from {
				return nil, fmt.Errorf("ports: %q is no port or range of ports", p.Published)
			}
			s.HostPort, s.HostPortEnd = uint16(from), uint16(to)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseAddr(what, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("%s: %w", what, err)
	}
	return a, nil
}
