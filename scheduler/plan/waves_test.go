package plan

import (
	"slices"
	"strings"
	"testing"
)

func ids(ops []Op) string {
	var all []string
	for _, op := range ops {
		all = append(all, op.ID)
	}
	return strings.Join(all, " ")
}

// A plan that replaces a, starts b beside it when a is healthy, and makes a network anew and another for the first time.
func wavesPlan() *Plan {
	return &Plan{Ops: []Op{
		{ID: "pull", Kind: PullImage},
		{ID: "net", Kind: CreateNetwork, Resource: "net"},
		{ID: "stop a", Kind: StopContainer, Container: "a", ContainerID: "1", After: []string{"pull"}},
		{ID: "remove a", Kind: RemoveContainer, Container: "a", ContainerID: "1", After: []string{"stop a"}},
		{ID: "remove old", Kind: RemoveNetwork, Resource: "old", After: []string{"remove a"}},
		{ID: "create old", Kind: CreateNetwork, Resource: "old", After: []string{"remove old"}},
		{ID: "create a", Kind: CreateContainer, Container: "a", After: []string{"remove a", "net"}},
		{ID: "start a", Kind: StartContainer, Container: "a", After: []string{"create a"}},
		{ID: "await a", Kind: AwaitCondition, After: []string{"start a"}},
		{ID: "start b", Kind: StartContainer, Container: "b", ContainerID: "2", After: []string{"await a"}},
		{ID: "stop c", Kind: StopContainer, Container: "c", ContainerID: "3"},
	}}
}

func TestWaves(t *testing.T) {
	t.Parallel()
	p := wavesPlan()
	w := NewWaves(p)
	expect := func(when, starts string, old, removing bool) {
		t.Helper()
		if got := ids(w.Starts()); got != starts || w.Changes("old") != old || w.Removing() != removing {
			t.Errorf("%s: starts %q, network changes %v, removing %v; want %q %v %v", when, got, w.Changes("old"), w.Removing(), starts, old, removing)
		}
	}
	expect("at first", "start b", true, true)
	if got := ids(w.Ending()); got != "" {
		t.Errorf("ending before anything was told to: %q", got)
	}
	w.Told("1")
	start, ok := w.Started("a")
	if got := ids(w.Ending()); got != "remove a" || !ok || start.ID != "start a" {
		t.Errorf("ending are %q, a is started by %q", got, start.ID)
	}
	for _, op := range p.Ops[:4] {
		w.Over(op)
	}
	expect("when a is gone", "start a start b", true, true)
	w.Over(p.Ops[10])
	w.Over(p.Ops[4])
	w.Over(p.Ops[4])
	expect("when all is gone", "start a start b", true, false)
	w.Over(p.Ops[5])
	w.Over(p.Ops[7])
	expect("when a runs", "start b", false, false)

	if late := p.Late(); len(late) != 1 || !late["b"] {
		t.Errorf("late are %v", late)
	}
	on := func(network string) func(string) []string { return func(string) []string { return []string{network} } }
	if kept := p.Outlive(on("net")); !slices.Equal(kept, []string{"1"}) {
		t.Errorf("kept are %v", kept)
	}
	if kept := p.Outlive(on("old")); len(kept) > 0 {
		t.Errorf("kept are %v on a network that goes", kept)
	}
}

// b takes a port of c, and a one of b that does not end: nothing is to wait for that.
func TestPass(t *testing.T) {
	t.Parallel()
	p := wavesPlan().Pass(map[string][]string{"b": {"3", "1"}, "a": {"2"}})
	if _, err := newWalker(p); err != nil {
		t.Error(err)
	}
	for _, op := range p.Ops {
		want := map[string][]string{"start a": {"create a"}, "start b": {"await a", "stop c", "stop a", "remove a"}}[op.ID]
		slices.Sort(want)
		slices.Sort(op.After)
		if want != nil && !slices.Equal(op.After, want) {
			t.Errorf("%s waits for %v, want %v", op.ID, op.After, want)
		}
	}
	if len(p.Ops) != len(wavesPlan().Ops) {
		t.Errorf("of %d operations %d are left", len(wavesPlan().Ops), len(p.Ops))
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	images, networks, rest := wavesPlan().Stages()
	if ids(images.Ops) != "pull" || ids(networks.Ops) != "net" || len(rest.Ops) != 9 {
		t.Errorf("%s | %s | %s", ids(images.Ops), ids(networks.Ops), ids(rest.Ops))
	}
	for _, op := range rest.Ops {
		if slices.Contains(op.After, "pull") || slices.Contains(op.After, "net") {
			t.Errorf("%s waits for what is done before: %v", op.ID, op.After)
		}
	}
	if _, err := newWalker(rest); err != nil {
		t.Error(err)
	}
}
