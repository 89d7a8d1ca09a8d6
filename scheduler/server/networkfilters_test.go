package server

import (
	"strings"
	"testing"

	"tutti/netdriver"
)

func TestNetworkFilter(t *testing.T) {
	t.Parallel()
	networks := []netdriver.Network{
		{NetworkSpec: netdriver.NetworkSpec{ID: "0a11", Name: "front", Driver: "bridge", Labels: map[string]string{"a": "1", "b": "2"}}},
		{NetworkSpec: netdriver.NetworkSpec{ID: "0a22", Name: "front2", Driver: "macvlan", Labels: map[string]string{"a": "2"}}},
		{NetworkSpec: netdriver.NetworkSpec{ID: "0b33", Name: "back", Driver: "ipvlan"}},
		{NetworkSpec: netdriver.NetworkSpec{ID: "0c44", Name: "bridge", Driver: "bridge"}},
	}
	users := map[string][]string{"back": {"db-1"}, "bridge": {"web-1"}}
	type filters = map[string][]string
	for _, tt := range []struct {
		filters filters
		want    string // names, or the beginning of an error
	}{
		{nil, "front front2 back bridge"},
		{filters{"name": {"front"}}, "front front2"},
		{filters{"name": {"^front$", "back"}}, "front back"},
		{filters{"name": {"("}}, ""},
		{filters{"id": {"^0a"}}, "front front2"},
		{filters{"driver": {"bridge", "ipvlan"}}, "front back bridge"},
		{filters{"label": {"a"}}, "front front2"},
		{filters{"label": {"a=1", "b"}}, "front"},
		{filters{"scope": {"local"}}, "front front2 back bridge"},
		{filters{"scope": {"swarm"}}, ""},
		{filters{"type": {"custom"}}, "front front2 back"},
		{filters{"type": {"builtin"}}, "bridge"},
		{filters{"type": {"builtin", "custom"}}, "front front2 back bridge"},
		{filters{"dangling": {"true"}}, "front front2"},
		{filters{"dangling": {"0"}, "driver": {"ipvlan"}}, "back"},
		{filters{"dangling": {"perhaps"}}, "invalid filter 'dangling=perhaps'"},
		{filters{"type": {"other"}}, "invalid filter 'type=other'"},
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
