package server

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/scheduler/engine"
	"tutti/scheduler/journal"
	"tutti/scheduler/plan"
)

// networkFilterKeys are docker's for GET /networks.
var networkFilterKeys = []string{"dangling", "driver", "id", "label", "name", "scope", "type"}

// listNetworks answers GET /networks.
func (s *server) listNetworks(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), networkFilterKeys...)
	var match func(engine.ListedNetwork) bool
	if err == nil {
		match, err = networkFilter(filters, s.e.NetworkUsers())
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	all := []apinetwork.Summary{}
	for _, n := range s.e.ListNetworks() {
		if match(n) {
			all = append(all, apinetwork.Summary{Network: networkJSON(n)})
		}
	}
	answer(w, all)
}

// networkFilter chooses networks as docker does: values of one key are alternatives, but for label, of which all must be
// there; name and id are patterns that match anywhere. users are the containers on each network.
func networkFilter(filters map[string][]string, users map[string][]string) (func(engine.ListedNetwork) bool, error) {
	dangling, err := choice(filters["dangling"], "dangling", map[string]bool{"true": true, "1": true, "false": false, "0": false})
	if err != nil {
		return nil, err
	}
	custom, err := choice(filters["type"], "type", map[string]bool{"custom": true, "builtin": false})
	if err != nil {
		return nil, err
	}
	return func(n engine.ListedNetwork) bool {
		return is(filters["driver"], n.Driver) && is(filters["scope"], "local") && matches(filters["id"], n.ID) && matches(filters["name"], n.Name) &&
			engine.Labelled(n.Labels, filters) &&
			(dangling == nil || *dangling == (!builtin(n) && len(users[n.Name]) == 0)) && (custom == nil || *custom == !builtin(n))
	}, nil
}

// builtin tells whether a network is one that docker has without making it.
func builtin(n engine.ListedNetwork) bool { return n.Predefined || n.Name == plan.DefaultBridge }

// choice reads the value of a key that says yes or no; nil when it is not given. Docker takes one only.
func choice(values []string, key string, known map[string]bool) (*bool, error) {
	if len(values) == 0 {
		return nil, nil //nolint:nilnil // not given
	}
	if len(values) > 1 {
		return nil, fmt.Errorf("got more than one value for filter key %q", key)
	}
	is, ok := known[values[0]]
	if !ok {
		return nil, fmt.Errorf("invalid value for filter '%s': must be one of %s, not %q", key, strings.Join(slices.Sorted(maps.Keys(known)), ", "), values[0])
	}
	return &is, nil
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
