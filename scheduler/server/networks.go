package server

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/scheduler/engine"
	"tutti/scheduler/journal"
)

func (s *server) networkRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /networks", s.listNetworks)
	mux.HandleFunc("GET /networks/{name}", s.inspectNetwork)
	mux.HandleFunc("DELETE /networks/{name}", func(w http.ResponseWriter, r *http.Request) {
		done(w, s.e.RemoveNetwork(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("POST /networks/create", s.createNetwork)
	mux.HandleFunc("POST /networks/{name}/connect", s.connectNetwork)
	mux.HandleFunc("POST /networks/{name}/disconnect", s.disconnectNetwork)
	mux.HandleFunc("POST /networks/prune", s.pruneNetworks)
}

// createNetwork takes docker's request, which has what a compose file's network section has.
func (s *server) createNetwork(w http.ResponseWriter, r *http.Request) {
	q, ok := read[apinetwork.CreateRequest](w, r)
	if !ok {
		return
	}
	c := engine.NetworkRequest{NetworkConfig: types.NetworkConfig{
		Name: q.Name, Driver: q.Driver, DriverOpts: q.Options, Internal: q.Internal, Attachable: q.Attachable, Labels: q.Labels,
		EnableIPv4: q.EnableIPv4, EnableIPv6: q.EnableIPv6,
	}, ConfigOnly: q.ConfigOnly, Ingress: q.Ingress, Scope: q.Scope}
	if q.ConfigFrom != nil {
		c.ConfigFrom = q.ConfigFrom.Network
	}
	if q.IPAM != nil {
		c.Ipam = ipamConfig(q.IPAM)
	}
	id, warnings, err := s.e.CreateNetwork(r.Context(), c)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	answer(w, apinetwork.CreateResponse{ID: id, Warning: strings.Join(warnings, "\n")})
}

// ipamConfig is docker's request about addresses in the words of a compose file.
func ipamConfig(q *apinetwork.IPAM) types.IPAMConfig {
	c := types.IPAMConfig{Driver: q.Driver, Options: q.Options}
	for _, pool := range q.Config {
		p := &types.IPAMPool{AuxiliaryAddresses: types.Mapping{}}
		if pool.Subnet.IsValid() {
			p.Subnet = pool.Subnet.String()
		}
		if pool.Gateway.IsValid() {
			p.Gateway = pool.Gateway.String()
		}
		if pool.IPRange.IsValid() {
			p.IPRange = pool.IPRange.String()
		}
		for name, a := range pool.AuxAddress {
			p.AuxiliaryAddresses[name] = a.String()
		}
		c.Config = append(c.Config, p)
	}
	return c
}

func (s *server) pruneNetworks(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), "until", "label", "label!")
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	removed, err := s.e.PruneNetworks(r.Context(), filters)
	reply(w, apinetwork.PruneReport{NetworksDeleted: removed}, err)
}

func (s *server) inspectNetwork(w http.ResponseWriter, r *http.Request) {
	n, err := s.e.FindNetwork(r.PathValue("name"))
	if err != nil {
		failWith(w, err)
		return
	}
	j := apinetwork.Inspect{Network: networkJSON(n), Containers: map[string]apinetwork.EndpointResource{}}
	for id, p := range s.e.EndpointsOn(n) {
		j.Containers[id] = apinetwork.EndpointResource{
			Name: p.Name, EndpointID: endpointID(id, n.ID), MacAddress: apinetwork.HardwareAddr(p.Endpoint.MAC), IPv4Address: p.Endpoint.IPv4, IPv6Address: p.Endpoint.IPv6,
		}
	}
	j.Status = s.networkStatus(n)
	answer(w, j)
}

// networkStatus tells how many addresses of each subnet are in use, and how many are left.
func (s *server) networkStatus(n engine.ListedNetwork) *apinetwork.Status {
	j := &apinetwork.Status{}
	for _, u := range s.e.NetDriver.Usage(n.ID) {
		if j.IPAM.Subnets == nil {
			j.IPAM.Subnets = apinetwork.SubnetStatuses{}
		}
		j.IPAM.Subnets[u.Subnet] = apinetwork.SubnetStatus{IPsInUse: u.Used, DynamicIPsAvailable: u.Free}
	}
	return j
}

func networkJSON(n engine.ListedNetwork) apinetwork.Network {
	created, _ := time.Parse(time.RFC3339Nano, engine.NetworkCreated(n.Network)) // zero for one without
	j := apinetwork.Network{
		Name: n.Name, ID: n.ID, Created: created, Scope: "local", Driver: cmp.Or(n.Driver, "null"), EnableIPv4: !n.NoIPv4, EnableIPv6: n.EnableIPv6,
		ConfigOnly: n.ConfigOnly, ConfigFrom: apinetwork.ConfigReference{Network: n.ConfigFrom}, Internal: n.Internal, Attachable: n.Attachable, Options: orEmptyMap(n.Options), Labels: orEmptyMap(engine.NetworkLabels(n.Network)), IPAM: apinetwork.IPAM{Driver: cmp.Or(n.IPAM, "default"), Options: n.IPAMOptions},
	}
	for _, p := range n.Pools {
		j.IPAM.Config = append(j.IPAM.Config, apinetwork.IPAMConfig{Subnet: p.Subnet, Gateway: p.Gateway, IPRange: p.Range, AuxAddress: p.Aux})
	}
	return j
}

// orEmptyMap writes what is not there as docker does.
func orEmptyMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
