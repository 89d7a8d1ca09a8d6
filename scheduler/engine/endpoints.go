package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

// endpointSpecs are the networks of a container in the driver's terms, and their names by their ids.
func (e *Engine) endpointSpecs(c *container.Config) (all []netdriver.EndpointSpec, byID map[string]string, err error) {
	byID = map[string]string{}
	four, six := container.Gateways(c.Networks, e.outlook)
	for _, a := range c.Networks {
		n, err := e.NetworkByName(a.Network)
		if err != nil {
			return nil, nil, err
		}
		byID[n.ID] = n.Name
		s, err := a.Endpoint(c.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("network %s: %w", a.Network, err)
		}
		s.NetworkID, s.DefaultRoute, s.DefaultRoute6 = n.ID, a.Network == four, a.Network == six
		all = append(all, s)
	}
	return all, byID, nil
}

// outlook says whether a network is internal, and for which families it has a way out.
func (e *Engine) outlook(name string) container.Outlook {
	n, err := e.NetworkByName(name)
	if err != nil {
		return container.Outlook{}
	}
	four, six := e.NetDriver.LeadsOut(n.ID)
	return container.Outlook{Internal: n.Internal, Four: four, Six: six}
}

// isInternal says whether a network has no way out.
func (e *Engine) isInternal(name string) bool {
	n, err := e.NetworkByName(name)
	return err == nil && n.Internal
}

// PortSpecs are the published ports in the driver's terms.
func PortSpecs(ports []container.Port) ([]netdriver.PortSpec, error) {
	var all []netdriver.PortSpec
	for _, p := range ports {
		s := netdriver.PortSpec{Proto: p.Protocol, ContainerPort: p.Target, Input: p.Input}
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
