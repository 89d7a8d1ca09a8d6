package server

import (
	"strings"
	"testing"

	"tutti/netdriver"
	"tutti/scheduler/engine"
)

func TestNetworkFilter(t *testing.T) {
	t.Parallel()
	network := func(id, name, driver string, labels map[string]string) engine.ListedNetwork {
		return engine.ListedNetwork{Network: netdriver.Network{NetworkSpec: netdriver.NetworkSpec{ID: id, Name: name, Driver: driver, Labels: labels}}}
	}
	host := network("0d55", "host", "host", nil)
	host.Predefined = true
	networks := []engine.ListedNetwork{
		network("0a11", "front", "bridge", map[string]string{"a": "1", "b": "2"}), network("0a22", "front2", "macvlan", map[string]string{"a": "2"}),
		network("0b33", "back", "ipvlan", nil), network("0c44", "bridge", "bridge", nil), host,
	}
	users := map[string][]string{"back": {"db-1"}, "bridge": {"web-1"}}
	type filters = map[string][]string
	for _, tt := range []struct {
		filters filters
		want    string // names, or the beginning of an error
	}{
		{nil, "front front2 back bridge host"},
		{filters{"name": {"front"}}, "front front2"},
		{filters{"name": {"^front$", "back"}}, "front back"},
		{filters{"name": {"("}}, ""},
		{filters{"id": {"^0a"}}, "front front2"},
		{filters{"driver": {"bridge", "ipvlan"}}, "front back bridge"},
		{filters{"label": {"a"}}, "front front2"},
		{filters{"label": {"a=1", "b"}}, "front"},
		{filters{"scope": {"local"}}, "front front2 back bridge host"},
		{filters{"scope": {"swarm"}}, ""},
		{filters{"type": {"custom"}}, "front front2 back"},
		{filters{"type": {"builtin"}}, "bridge host"},
		{filters{"type": {"builtin", "custom"}}, "got more than one value"},
		{filters{"dangling": {"true", "false"}}, "got more than one value"},
		{filters{"dangling": {"true"}}, "front front2"},
		{filters{"dangling": {"0"}, "driver": {"ipvlan"}}, "back"},
		{filters{"dangling": {"perhaps"}}, "invalid value for filter 'dangling'"},
		{filters{"type": {"other"}}, "invalid value for filter 'type'"},
	} {
		match, err := networkFilter(tt.filters, users)
		if err != nil {
			if tt.want == "" || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v: %v", tt.filters, err)
			}
			continue
		}
		var names []string
		for _, n := range networks {
			if match(n) {
				names = append(names, n.Name)
			}
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.filters, got, tt.want)
		}
	}
}
