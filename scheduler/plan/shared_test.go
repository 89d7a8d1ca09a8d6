package plan_test

import (
	"slices"
	"strings"
	"testing"

	"tutti/scheduler/plan"
)

// A network of one name in two projects goes with the last of them, whoever made it; one that is external, or that nobody's
// project made, stays.
func TestDownOfSharedNetworks(t *testing.T) {
	p := load(t, "services: {a: {image: a, networks: [ours, theirs, handmade, outer]}}\nnetworks: {ours: {name: ours}, theirs: {name: theirs}, handmade: {name: handmade}, outer: {name: outer, external: true}}\n")
	s := plan.State{Networks: []plan.Network{
		{ID: "1", Name: "ours", Project: "demo", Others: []string{"other-b-1"}},
		{ID: "2", Name: "theirs", Project: "other"},
		{ID: "3", Name: "handmade"},
		{ID: "4", Name: "outer", Project: "other"},
		{ID: "5", Name: "foreign", Project: "other"},
	}}
	var removed []string
	for _, op := range plan.DownPlan("demo", p, s, plan.DownOptions{}).Ops {
		if op.Kind == plan.RemoveNetwork && op.Shared {
			removed = append(removed, op.Resource)
		}
	}
	if !slices.Equal(removed, []string{"ours", "theirs"}) {
		t.Errorf("removed are %q", removed)
	}
}

// A network that has changed in the file cannot be made anew under the containers of others.
func TestSharedNetworkIsNotRenewed(t *testing.T) {
	p := load(t, "services: {a: {image: a, networks: [n]}}\nnetworks: {n: {name: n, internal: true}}\n")
	s := plan.State{Networks: []plan.Network{{ID: "1", Name: "n", Project: "demo", Key: "n", Hash: "before", Others: []string{"other-b-1"}}}}
	got := diff(t, p, s, plan.Options{})
	if slices.ContainsFunc(got.Ops, func(op plan.Op) bool { return op.Kind == plan.RemoveNetwork }) || !strings.Contains(strings.Join(got.Notes, "\n"), "other-b-1") {
		t.Errorf("plan is\n%s", got)
	}
}
