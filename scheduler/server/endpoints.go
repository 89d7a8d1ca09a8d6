package server

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/names"
)

// connectNetwork answers POST /networks/{name}/connect.
func (s *server) connectNetwork(w http.ResponseWriter, r *http.Request) {
	q, ok := read[apinetwork.ConnectRequest](w, r)
	if !ok {
		return
	}
	a, err := attachment(q.EndpointConfig)
	if err == nil {
		err = s.e.ConnectNetwork(r.Context(), r.PathValue("name"), q.Container, a)
	}
	ok200(w, err)
}

// disconnectNetwork answers POST /networks/{name}/disconnect.
func (s *server) disconnectNetwork(w http.ResponseWriter, r *http.Request) {
	q, ok := read[apinetwork.DisconnectRequest](w, r)
	if !ok {
		return
	}
	ok200(w, s.e.DisconnectNetwork(r.Context(), r.PathValue("name"), q.Container)) // q.Force is for endpoints of containers that are gone, which there are none of
}

// ok200 answers with nothing, or with the error.
func ok200(w http.ResponseWriter, err error) {
	if err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// attachment is what docker's clients ask for with an endpoint.
func attachment(c *apinetwork.EndpointSettings) (container.Attachment, error) {
	if c == nil {
		return container.Attachment{}, nil
	}
	a := container.Attachment{Aliases: c.Aliases, GwPriority: c.GwPriority, DriverOpts: c.DriverOpts}
	if len(c.MacAddress) > 0 {
		a.MAC = c.MacAddress.String()
	}
	if ip := c.IPAMConfig; ip != nil {
		a.IPv4, a.IPv6 = addressText(ip.IPv4Address), addressText(ip.IPv6Address)
		for _, l := range ip.LinkLocalIPs {
			a.LinkLocal = append(a.LinkLocal, l.String())
		}
	}
	for _, l := range c.Links {
		name, alias, ok := strings.Cut(l, ":")
		if name == "" || ok && alias == "" {
			return a, fmt.Errorf("%w: bad format for links: %s", engine.ErrInvalid, l)
		}
		if !ok {
			alias = name
		}
		a.Links = append(a.Links, container.Link{Container: name, Alias: alias})
	}
	return a, nil
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// networkSettings is a container's part of networks as docker's inspect has it: of one that does not run the networks that it
// will be on.
func (s *server) networkSettings(c *container.Config, st container.State) *apicontainer.NetworkSettings {
	all := &apicontainer.NetworkSettings{Ports: portMap(c, st), Networks: map[string]*apinetwork.EndpointSettings{}}
	for _, a := range c.Networks {
		all.Networks[a.Network] = s.endpointSettings(c, a)
	}
	if c.NetworkMode == "none" || c.NetworkMode == "host" { // with docker networks that are always there
		all.Networks[c.NetworkMode] = &apinetwork.EndpointSettings{}
	}
	if !st.Alive() {
		return all
	}
	all.SandboxID, all.SandboxKey = endpointID(c.ID, "sandbox"), fmt.Sprintf("/proc/%d/ns/net", st.Pid)
	for _, p := range st.Endpoints {
		j := all.Networks[p.Network]
		if j == nil {
			continue
		}
		j.EndpointID, j.MacAddress = endpointID(c.ID, p.NetworkID), apinetwork.HardwareAddr(p.MAC)
		j.Gateway, j.IPv6Gateway = p.Gateway, p.Gateway6
		if p.IPv4.IsValid() {
			j.IPAddress, j.IPPrefixLen = p.IPv4.Addr(), p.IPv4.Bits()
		}
		if p.IPv6.IsValid() {
			j.GlobalIPv6Address, j.GlobalIPv6PrefixLen = p.IPv6.Addr(), p.IPv6.Bits()
		}
	}
	return all
}

// endpointSettings is what was asked for of a network.
func (s *server) endpointSettings(c *container.Config, a container.Attachment) *apinetwork.EndpointSettings {
	j := &apinetwork.EndpointSettings{
		Aliases: a.Aliases, DriverOpts: maps.Clone(a.DriverOpts), GwPriority: a.GwPriority, DNSNames: names.On(c, a.Network),
	}
	if n, err := s.e.Network(a.Network); err == nil {
		j.NetworkID = n.ID
	}
	if a.Interface != "" {
		if j.DriverOpts == nil {
			j.DriverOpts = map[string]string{}
		}
		j.DriverOpts[netdriver.OptionInterface] = a.Interface
	}
	spec, err := a.Endpoint(c.Name)
	if err == nil && (spec.IPv4.IsValid() || spec.IPv6.IsValid() || len(spec.LinkLocal) > 0) {
		j.IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: spec.IPv4, IPv6Address: spec.IPv6, LinkLocalIPs: spec.LinkLocal}
	}
	for _, l := range c.Links {
		if l.Container != "" && (l.Network == "" || l.Network == a.Network) {
			j.Links = append(j.Links, l.Container+":"+l.Alias)
		}
	}
	return j
}

// portMap is what is published of a container's ports; those that are only exposed have no binding.
func portMap(c *container.Config, st container.State) apinetwork.PortMap {
	m := apinetwork.PortMap{}
	if !st.Alive() {
		return m
	}
	for _, p := range c.Exposed {
		if key, ok := apinetwork.PortFrom(p.Target, apinetwork.IPProtocol(p.Protocol)); ok {
			m[key] = nil
		}
	}
	for _, b := range st.Bindings {
		if key, ok := apinetwork.PortFrom(b.ContainerPort, apinetwork.IPProtocol(b.Proto)); ok {
			at := apinetwork.PortBinding{HostIP: b.HostIP}
			if b.HostPort != 0 { // else it is reached at the container's own address, for which docker has no port
				at.HostPort = fmt.Sprint(b.HostPort)
			}
			m[key] = append(m[key], at)
		}
	}
	return m
}

// endpointID names the endpoint of a container on a network, the same as long as both are there.
func endpointID(containerID, networkID string) string {
	sum := sha256.Sum256([]byte(containerID + "/" + networkID))
	return hex.EncodeToString(sum[:])
}
