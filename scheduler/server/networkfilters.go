package server

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/netdriver"
	"tutti/scheduler/engine"
	"tutti/scheduler/journal"
	"tutti/scheduler/plan"
)

// networkFilterKeys are docker's for GET /networks.
var networkFilterKeys = []string{"dangling", "driver", "id", "label", "name", "scope", "type"}

// listNetworks answers GET /networks.
func (s *server) listNetworks(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), networkFilterKeys...)
	var match func(netdriver.Network) bool
	if err == nil {
		match, err = networkFilter(filters, s.e.NetworkUsers())
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	all := []apinetwork.Summary{}
	for _, n := range s.e.Networks() {
		if match(n) {
			all = append(all, apinetwork.Summary{Network: networkJSON(n)})
		}
	}
	answer(w, all)
}

// networkFilter chooses networks as docker does: values of one key are alternatives, but for label, of which all must be
// there; name and id are patterns that match anywhere. users are the containers on each network.
func networkFilter(filters map[string][]string, users map[string][]string) (func(netdriver.Network) bool, error) {
	dangling, err := alternatives(filters["dangling"], "dangling", strconv.ParseBool)
	if err != nil {
		return nil, err
	}
	custom, err := alternatives(filters["type"], "type", func(v string) (bool, error) {
		if v != "custom" && v != "builtin" {
			return false, fmt.Errorf("it is neither custom nor builtin")
		}
		return v == "custom", nil
	})
	if err != nil {
		return nil, err
	}
	return func(n netdriver.Network) bool {
		return is(filters["driver"], n.Driver) && is(filters["scope"], "local") && matches(filters["id"], n.ID) && matches(filters["name"], n.Name) &&
			engine.Labelled(n.Labels, filters) &&
			(dangling == nil || dangling[len(users[n.Name]) == 0]) && (custom == nil || custom[n.Name != plan.DefaultBridge])
	}, nil
}

// alternatives reads the values of a key that says yes or no; nil when it is not given.
func alternatives(values []string, key string, read func(string) (bool, error)) (map[bool]bool, error) {
	var found map[bool]bool
	for _, v := range values {
		b, err := read(v)
		if err != nil {
			return nil, fmt.Errorf("invalid filter '%s=%s': %w", key, v, err)
		}
		if found == nil {
			found = map[bool]bool{}
		}
		found[b] = true
	}
	return found, nil
}

func is(wanted []string, value string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

func matches(patterns []string, value string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		found, err := regexp.MatchString(p, value)
		return p == value || err == nil && found
	})
}
