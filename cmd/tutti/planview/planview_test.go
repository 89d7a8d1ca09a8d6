package planview_test

import (
	"strings"
	"testing"

	"tutti/cmd/tutti/planview"
	"tutti/scheduler/api"
)

func show(t *testing.T, p api.Plan, color bool) string {
	t.Helper()
	var b strings.Builder
	if err := planview.Print(&b, p, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrint(t *testing.T) {
	id := "sha256:" + strings.Repeat("a", 64)
	p := api.Plan{
		Project: "demo", Changes: 9,
		Images: []api.PlannedImage{
			{Name: "db:1", Action: api.ActionUnchanged},
			{Name: "demo-web", Action: api.ActionBuild, Cause: "missing"},
			{Name: "web:1", ID: id, Action: api.ActionPull, Cause: "pull policy always"},
		},
		Networks: []api.PlannedResource{{Name: "demo_default", Action: api.ActionUnchanged}},
		Volumes:  []api.PlannedResource{{Name: "demo_data", Action: api.ActionCreate, Cause: "missing"}, {Name: "demo_x", Action: api.ActionUnchanged}},
		Services: []api.PlannedService{
			{Name: "calm", Before: 1, After: 1, Containers: []api.PlannedContainer{{Name: "demo-calm-1", Action: api.ActionUnchanged}}},
			{Name: "job", Before: 1, After: 1, Containers: []api.PlannedContainer{{Name: "demo-job-1", Action: api.ActionUnchanged, Cause: "has exited with 0"}}},
			{Name: "old", Orphan: true, Before: 1, Containers: []api.PlannedContainer{{Name: "demo-old-1", Action: api.ActionRemove, Cause: "orphan"}}},
			{Name: "stays", Orphan: true, Before: 1, After: 1, Containers: []api.PlannedContainer{{Name: "demo-stays-1", Action: api.ActionUnchanged}}},
			{Name: "web", Before: 2, After: 3, Containers: []api.PlannedContainer{
				{Name: "demo-web-1", NewName: "web", Action: api.ActionRecreate, Cause: "config changed", Starts: true, Differences: []api.Difference{
					{Field: "command", Change: api.ChangeChanged, Before: new("a --token ***"), After: new("a --token ***"), Hidden: true},
					{Field: "environment.A", Change: api.ChangeAdded, After: new("x\x1b[2J" + strings.Repeat("y", 100))},
					{Field: "environment.B", Change: api.ChangeRemoved, Before: new("one\ntwo\nthree\n")},
					{Field: "environment.C", Change: api.ChangeChanged, Before: new("one\ntwo\nthree"), After: new("one\n2\nthree")},
					{Field: "environment.D", Change: api.ChangeChanged, Before: new("one\n"), After: new("one\ntwo\n")},
					{Field: "environment.E", Change: api.ChangeChanged, After: new("")},
					{Field: "environment.KEY", Change: api.ChangeChanged, Hidden: true},
					{Field: "environment.TOKEN", Change: api.ChangeAdded, Hidden: true},
					{Field: "secrets.x", Change: api.ChangeChanged, Hidden: true, Note: "its content differs"},
					{Field: "configuration", Change: api.ChangeChanged, Note: "what it was is not recorded"},
					{Field: "image id", Change: api.ChangeChanged, Before: &id, Note: "perhaps"},
				}},
				{Name: "demo-web-2", Action: api.ActionUnknown, Cause: "perhaps recreate: image web:1 may be another one"},
				{Name: "demo-web-3", Action: api.ActionCreate, Cause: "missing"},
			}},
		},
		Order: [][]api.PlannedStep{
			{{Operation: "pull image", Subject: "web:1"}, {Operation: "stop container", Subject: "a"}, {Operation: "stop container", Subject: "b"}},
			{{Operation: "await condition", Subject: "web: db healthy"}},
		},
		Notes: []string{"volume demo_x differs"},
	}
	const want = `Images
  + demo-web  build: missing
  + web:1  pull: pull policy always; whether it differs from the one that is here is not known
  = unchanged: db:1
Volumes
  + demo_data  create: missing
  = unchanged: demo_x
Services
  old  not in the compose file
    - demo-old-1  remove: orphan
  web  scale 2 -> 3
    ~ demo-web-1 -> web  recreate: config changed
        ~ command            "a --token ***", in what is hidden (***)
        + environment.A      "x\x1b[2JYYY" (and 33 more characters)
        - environment.B      "one" (and 2 more lines)
        ~ environment.C      line 2: "two" -> "2"
        ~ environment.D      line 2: "" -> "two"
        ~ environment.E      (no value) -> ""
        ~ environment.KEY    (hidden) -> (hidden), another one
        + environment.TOKEN  (hidden)
        ~ secrets.x          (its content differs)
        ~ configuration      (what it was is not recorded)
        ~ image id           aaaaaaaaaaaa (perhaps)
    ? demo-web-2  perhaps recreate: image web:1 may be another one
    + demo-web-3  create: missing; it is not started
  = unchanged: demo-calm-1, demo-job-1 (has exited with 0)
Order
  1. pull image web:1; stop container a, b
  2. await web: db healthy
Note: volume demo_x differs
Plan: 1 image to pull, 1 image to build, 1 volume to create, 1 container to create, 1 container to recreate, 1 container to remove, 1 container perhaps.
`
	if got := show(t, p, false); got != strings.Replace(want, "YYY", strings.Repeat("y", 67), 1) {
		t.Errorf("printed is\n%s\nwant\n%s", got, want)
	}
	colored := show(t, p, true)
	for _, text := range []string{"\x1b[1mServices\x1b[0m\n", "  \x1b[32m+ demo-web  build: missing\x1b[0m\n", "    \x1b[31m- demo-old-1"} {
		if !strings.Contains(colored, text) {
			t.Errorf("in colour there is no %q:\n%s", text, colored)
		}
	}
}

// Of many things that stay as they are the first are named.
func TestPrintMany(t *testing.T) {
	p := api.Plan{Project: "demo", Services: []api.PlannedService{{Name: "a"}}}
	for range 14 {
		p.Services[0].Containers = append(p.Services[0].Containers, api.PlannedContainer{Name: "x", Action: api.ActionUnchanged})
	}
	if got := show(t, p, false); !strings.Contains(got, "= unchanged: "+strings.Repeat("x, ", 11)+"x and 2 more\n") {
		t.Errorf("printed is\n%s", got)
	}
}

func TestPrintNothing(t *testing.T) {
	p := api.Plan{Project: "demo", Services: []api.PlannedService{{Name: "a", Containers: []api.PlannedContainer{{Name: "demo-a-1", Action: api.ActionUnchanged}}}}}
	const want = "Services\n  = unchanged: demo-a-1\nNothing would change: project demo is as its compose file says.\n"
	if got := show(t, p, false); got != want {
		t.Errorf("printed is\n%s\nwant\n%s", got, want)
	}
}
