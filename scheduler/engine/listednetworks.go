package engine

import (
	"fmt"
	"slices"
	"strings"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/netconfig"
)

// ListedNetwork is a network as `network ls` has it: one that containers can be connected to, or one of docker's others.
type ListedNetwork struct {
	netdriver.Network
	Predefined bool   // host or none: the names of network modes
	ConfigOnly bool   // settings for other networks, see package netconfig
	ConfigFrom string // the name of such settings that it was made from
}

// labelConfigFrom on a network is [ListedNetwork.ConfigFrom].
const labelConfigFrom = "tutti.config-from"

// predefined are the networks that are there without being made, with docker's names of their drivers.
var predefined = map[string]string{"host": "host", "none": "null"}

// configs are the networks that are only a configuration.
func (e *Engine) configs() netconfig.Store { return netconfig.Store{Dir: e.Paths.NetworkConfigs()} }

// ListNetworks lists the networks of all kinds by name.
func (e *Engine) ListNetworks() []ListedNetwork {
	var all []ListedNetwork
	for _, n := range e.Networks() {
		all = append(all, ListedNetwork{Network: n, ConfigFrom: n.Labels[labelConfigFrom]})
	}
	for name, driver := range predefined {
		all = append(all, ListedNetwork{Network: netdriver.Network{NetworkSpec: netdriver.NetworkSpec{ID: e.NetworkID(name), Name: name, Driver: driver}}, Predefined: true})
	}
	for _, c := range e.NetworkConfigs() {
		all = append(all, ListedNetwork{Network: netdriver.Network{NetworkSpec: c}, ConfigOnly: true})
	}
	slices.SortFunc(all, func(a, b ListedNetwork) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// NetworkConfigs are the networks that are only a configuration, by name.
func (e *Engine) NetworkConfigs() []netdriver.NetworkSpec {
	configs, err := e.configs().All()
	if err != nil {
		e.Log.Error("read the configuration networks", "error", err)
	}
	return configs
}

// FindNetwork finds a network of any kind by name, id or the beginning of its id.
func (e *Engine) FindNetwork(ref string) (ListedNetwork, error) {
	all := e.ListNetworks()
	if i := slices.IndexFunc(all, func(n ListedNetwork) bool { return n.Name == ref }); i >= 0 {
		return all[i], nil
	}
	all = slices.DeleteFunc(all, func(n ListedNetwork) bool { return len(ref) < 4 || !strings.HasPrefix(n.ID, ref) })
	switch len(all) {
	case 0:
		return ListedNetwork{}, fmt.Errorf("%w network: %s", ErrNoSuch, ref)
	case 1:
		return all[0], nil
	default:
		return ListedNetwork{}, fmt.Errorf("%w: several network ids begin with %s: give more of the id, or the name", ErrConflict, ref)
	}
}

// Network finds a network that containers can be connected to. One of the others is ErrForbidden.
func (e *Engine) Network(ref string) (netdriver.Network, error) {
	n, err := e.FindNetwork(ref)
	switch {
	case err != nil:
	case n.ConfigOnly:
		err = fmt.Errorf("%w: network %s is only a configuration: make a network from it, `tutti network create --config-from %s NAME`", ErrForbidden, n.Name, n.Name)
	case n.Predefined:
		err = fmt.Errorf("%w: %s is a network mode, which a container has from its creation to its end: use `network_mode: %s`", ErrForbidden, n.Name, n.Name)
	}
	return n.Network, err
}

// EndpointsOn are the running containers of a network.
func (e *Engine) EndpointsOn(n ListedNetwork) map[string]ContainerEndpoint {
	all := map[string]ContainerEndpoint{}
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		s := u.Snapshot()
		if n.Predefined && s.Alive() && u.Config.NetworkMode == n.Name {
			all[u.ID] = ContainerEndpoint{Name: u.Name()}
		}
		for _, p := range s.Endpoints {
			if p.Network == n.Name {
				all[u.ID] = ContainerEndpoint{Name: u.Name(), Endpoint: p.Endpoint}
			}
		}
	}
	return all
}

// ContainerEndpoint is a container's place on a network, with the container's name.
type ContainerEndpoint struct {
	Name     string
	Endpoint netdriver.Endpoint
}
