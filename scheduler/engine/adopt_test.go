package engine

import (
	"log/slog"
	"os"
	"testing"

	"tutti/scheduler/container"
	"tutti/scheduler/layout"
)

// A container whose end is known has perhaps been started again by its policy when the others are looked at: it is not taken
// for lost. One that nobody has seen the end of is.
func TestRecoverLeavesAloneWhatIsCaredFor(t *testing.T) {
	t.Parallel()
	e := &Engine{Paths: layout.Paths{Root: t.TempDir()}, Log: slog.Default(), busy: newActivity(), bus: newBus(func(change) {}), units: map[string]*Unit{}}
	e.syncer = newSyncer(e.Log, func(*Unit) {})
	for _, dir := range []string{e.Paths.Projects(), e.Paths.Containers()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"known", "lost"} {
		dir := e.Paths.Container(id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		rec := container.Record{Config: container.Config{ID: id, Name: id}, State: container.State{Status: container.Running}}
		u, err := newUnit(dir, rec, nil)
		if err != nil {
			t.Fatal(err)
		}
		u.syncer = e.syncer
		e.units[id] = u
	}
	if err := e.recover(func(id string) bool { return id == "known" }); err != nil {
		t.Fatal(err)
	}
	if s := e.units["known"].Snapshot(); !s.Alive() || s.Lost {
		t.Errorf("the container that was started again is taken for %s", s.Status)
	}
	if s := e.units["lost"].Snapshot(); s.Alive() || !s.Lost {
		t.Errorf("the container that is gone is taken for %s", s.Status)
	}
}

func TestCheckProjectName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"shop": true, "0-shop_b": true, "": false, "-shop": false, "_shop": false, "Shop": false, "../shop": false, "sh/op": false, "shöp": false, ".": false,
	} {
		if err := CheckProjectName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
