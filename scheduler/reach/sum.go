package reach

import (
	"fmt"
	"strings"

	"tutti/scheduler/api"
)

// rank orders the results from the best to the worst.
var rank = map[api.ReachResult]int{api.ReachYes: 0, api.ReachPartly: 1, api.ReachClosed: 2, api.ReachNo: 3}

// closed are the reasons that the target itself, and not something on the way to it, is to blame for.
var closed = map[api.ReachReason]bool{api.ReasonNotListening: true, api.ReasonLoopbackOnly: true, api.ReasonOtherAddress: true}

// Sum fills in the result, the reason and the summary of a check from its paths. With a port that was asked for every
// container of the target has to be reached at it, otherwise each at any of its ports.
func Sum(c *api.ReachCheck) {
	byContainer := map[string][]api.ReachPath{}
	var order []string
	for _, p := range c.Paths {
		if byContainer[p.Container] == nil {
			order = append(order, p.Container)
		}
		byContainer[p.Container] = append(byContainer[p.Container], p)
	}
	results := map[api.ReachResult]int{}
	var blame *api.ReachPath
	for _, name := range order {
		result, path := sumOne(byContainer[name])
		results[result]++
		if blame == nil && result != api.ReachYes {
			blame = path
		}
	}
	switch {
	case len(order) == 0:
		c.Result = api.ReachNo
	case results[api.ReachYes] == len(order):
		c.Result = api.ReachYes
	case results[api.ReachYes] > 0 || results[api.ReachPartly] > 0:
		c.Result = api.ReachPartly
	case results[api.ReachClosed] > 0:
		c.Result = api.ReachClosed
	default:
		c.Result = api.ReachNo
	}
	if blame != nil {
		c.Reason = blame.Reason
		if c.Summary == "" {
			c.Summary = blame.Detail
		}
		return
	}
	if c.Summary == "" {
		c.Summary = ways(c.Paths)
	}
}

// sumOne is the result of the paths to one container, and the path to blame when it is not reached.
func sumOne(paths []api.ReachPath) (api.ReachResult, *api.ReachPath) {
	var blame *api.ReachPath
	result := api.ReachNo
	for i, p := range paths {
		if p.Reached {
			return api.ReachYes, nil
		}
		this := api.ReachNo
		if closed[p.Reason] {
			this = api.ReachClosed
		}
		if blame == nil || rank[this] < rank[result] {
			blame, result = &paths[i], this
		}
	}
	return result, blame
}

// ways names the networks, or else the addresses, by which something was reached.
func ways(paths []api.ReachPath) string {
	var ways []string
	seen := map[string]bool{}
	for _, p := range paths {
		way := "over " + p.Network
		if p.Network == "" {
			way = "at " + p.Address.String()
		}
		if p.Reached && !seen[way] {
			seen[way] = true
			ways = append(ways, way)
		}
	}
	return strings.Join(ways, ", ")
}

// ParseTarget splits "db:5432/udp" into a name and a port; without a port it is 0 and the protocol empty. IPv6 addresses
// with a port stand in brackets.
func ParseTarget(s string) (name string, port uint16, proto string, err error) {
	bad := fmt.Errorf("%q is no target: give a service, host, outside, an address or a name, with :PORT or :PORT/udp behind it if need be", s)
	rest, proto, hasProto := strings.Cut(s, "/")
	name = rest
	colon := strings.LastIndexByte(rest, ':')
	literal := strings.HasPrefix(rest, "[")
	switch {
	case literal && strings.HasSuffix(rest, "]"):
		colon = -1
	case !literal && strings.Count(rest, ":") > 1: // an IPv6 address
		colon = -1
	}
	if colon >= 0 {
		if _, err := fmt.Sscanf(rest[colon+1:], "%d", &port); err != nil || port == 0 || fmt.Sprint(port) != rest[colon+1:] {
			return "", 0, "", bad
		}
		name = rest[:colon]
		if !hasProto {
			proto = "tcp"
		}
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if name == "" || hasProto && (port == 0 || proto != "tcp" && proto != "udp") {
		return "", 0, "", bad
	}
	return name, port, proto, nil
}
