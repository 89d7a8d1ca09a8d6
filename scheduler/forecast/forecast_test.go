package forecast_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/forecast"
	"tutti/scheduler/plan"
)

const stack = `
services:
  web:
    image: web:1
    depends_on: {db: {condition: service_started, restart: true}}
    networks: [front, back]
    environment: {LEVEL: info}
    scale: 2
  db: {image: db:1, networks: [back], volumes: ["data:/data"]}
  job: {image: job:1, networks: [back]}
  after: {image: db:1, networks: [back], depends_on: {job: {condition: service_completed_successfully}}}
networks: {front: {}, back: {}}
volumes: {data: {}}
`

// settled is the state after an up in which everything came up.
func settled(t *testing.T, p *project.Project) plan.State {
	t.Helper()
	s := plan.State{Images: map[string]string{}}
	for _, name := range p.ServiceNames() {
		s.Images[p.ImageName(name)] = "sha256:1"
	}
	for key, n := range p.Networks {
		s.Networks = append(s.Networks, plan.Network{ID: key, Name: n.Name, Project: p.Name, Key: key, Hash: p.NetworkHash(key), Config: p.NetworkCanonical(key)})
	}
	for key, v := range p.Volumes {
		s.Volumes = append(s.Volumes, plan.Volume{Name: v.Name, Project: p.Name, Key: key, Hash: p.VolumeHash(key)})
	}
	first, err := plan.Diff(p, s, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range first.Ops {
		if op.Kind != plan.CreateContainer {
			continue
		}
		c := plan.Container{
			ID: "id-" + op.Container, Name: op.Container, Service: op.Service, Number: op.Number, Status: plan.Running,
			ConfigHash: p.Hash(op.Service), Config: p.Canonical(op.Service), Image: p.ImageName(op.Service), ImageID: "sha256:1",
		}
		for key := range p.Services[op.Service].Networks {
			c.Networks = append(c.Networks, p.Networks[key].Name)
		}
		if op.Service == "job" {
			c.Status = plan.Exited
		}
		s.Containers = append(s.Containers, c)
	}
	return s
}

// lines are a forecast in short, without what stays as it is; those of containers end with their differences.
func lines(p api.Plan) []string {
	var all []string
	for _, i := range p.Images {
		all = append(all, fmt.Sprintf("%s %s", i.Action, i.Name))
	}
	for _, r := range slices.Concat(p.Networks, p.Volumes) {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Action, r.Name, strings.Join(briefs(r.Differences), ", "))))
	}
	for _, s := range p.Services {
		for _, c := range s.Containers {
			text := fmt.Sprintf("%s %s: %s", c.Action, c.Name, c.Cause)
			if c.NewName != "" {
				text += " as " + c.NewName
			}
			if len(c.Differences) > 0 {
				text += ": " + strings.Join(briefs(c.Differences), ", ")
			}
			if s.Before != s.After {
				text += fmt.Sprintf(" (%d to %d)", s.Before, s.After)
			}
			all = append(all, text)
		}
	}
	return slices.DeleteFunc(all, func(line string) bool { return strings.HasPrefix(line, "unchanged") })
}

func TestForecasts(t *testing.T) {
	for _, tc := range []struct {
		name    string
		edit    []string
		change  func(*plan.State)
		options plan.Options
		changes int // at least
		want    []string
	}{
		{name: "nothing"},
		{name: "the first up", change: func(s *plan.State) { *s = plan.State{} }, options: plan.Options{Services: []string{"db"}}, changes: 5, want: []string{
			"pull db:1", "create demo_back", "create demo_data", "create demo-db-1: missing (0 to 1)",
		}},
		{name: "a variable", edit: []string{"LEVEL: info", "LEVEL: debug"}, changes: 8, want: []string{
			`recreate demo-web-1: config changed: environment: environment.LEVEL changed "info" "debug"`,
			`recreate demo-web-2: config changed: environment: environment.LEVEL changed "info" "debug"`,
		}},
		{name: "of a container that is not asked for", edit: []string{"LEVEL: info", "LEVEL: debug"}, options: plan.Options{Services: []string{"db"}}},
		{name: "what it was is not known", change: func(s *plan.State) { each(s, "db", func(c *plan.Container) { c.ConfigHash, c.Config = "x", nil }) }, changes: 4, want: []string{
			"recreate demo-db-1: config changed: configuration changed - - (what it was is not recorded)",
			"restart demo-web-1: dependency db is recreated (restart: true)", "restart demo-web-2: dependency db is recreated (restart: true)",
		}},
		{name: "a name", edit: []string{"  db: {", "  db: {container_name: base, "}, changes: 4, want: []string{
			`recreate demo-db-1: config changed: container_name as base: container_name added - "base"`,
			"restart demo-web-1: dependency db is recreated (restart: true)", "restart demo-web-2: dependency db is recreated (restart: true)",
		}},
		{name: "an image", change: func(s *plan.State) { s.Images["web:1"] = "sha256:2" }, changes: 8, want: []string{
			`recreate demo-web-1: image changed: 1 → 2: image id changed "sha256:1" "sha256:2"`,
			`recreate demo-web-2: image changed: 1 → 2: image id changed "sha256:1" "sha256:2"`,
		}},
		{name: "an image that is to be fetched", options: plan.Options{Pull: "always", Services: []string{"db"}}, changes: 1, want: []string{
			"pull db:1",
			`unknown demo-db-1: perhaps recreate: image db:1 may be another one: image id changed "sha256:1" - (perhaps: it is known when the image is here)`,
			"unknown demo-web-1: perhaps restart: dependency db is recreated (restart: true)",
			"unknown demo-web-2: perhaps restart: dependency db is recreated (restart: true)",
		}},
		{name: "an image and the configuration", edit: []string{"LEVEL: info", "LEVEL: debug"}, options: plan.Options{Pull: "always", Services: []string{"web"}, NoDeps: true}, changes: 9, want: []string{
			"pull web:1",
			`recreate demo-web-1: config changed: environment: environment.LEVEL changed "info" "debug"`,
			`recreate demo-web-2: config changed: environment: environment.LEVEL changed "info" "debug"`,
		}},
		{name: "a network", edit: []string{"back: {}", "back: {internal: true}"}, options: plan.Options{Services: []string{"job"}}, changes: 2, want: []string{
			`recreate demo_back internal added - "true"`,
			"recreate demo-after-1: network demo_back changed", "recreate demo-db-1: network demo_back changed", "recreate demo-job-1: network demo_back changed",
			"recreate demo-web-1: network demo_back changed", "recreate demo-web-2: network demo_back changed",
		}},
		{name: "fewer and more", options: plan.Options{Scale: map[string]int{"web": 1, "db": 2}}, changes: 4, want: []string{
			"create demo-db-2: missing: there are 1 of 2 (1 to 2)", "remove demo-web-2: scaled down to 1 (2 to 1)",
		}},
		{name: "new anonymous volumes", options: plan.Options{ForceRecreate: true, RenewAnonVolumes: true, Services: []string{"job"}}, changes: 3, want: []string{
			"recreate demo-job-1: recreation was asked for",
		}},
		{name: "crashed", change: func(s *plan.State) {
			each(s, "db", func(c *plan.Container) { c.Status, c.ExitCode = plan.Exited, 137 })
		}, changes: 1, want: []string{"start demo-db-1: it exited with 137"}},
		{name: "orphans stay", edit: []string{"job: {", "chore: {", "{job: ", "{chore: "}, changes: 2, want: []string{"create demo-chore-1: missing (0 to 1)"}},
		{name: "orphans go", edit: []string{"job: {", "chore: {", "{job: ", "{chore: "}, options: plan.Options{RemoveOrphans: true}, changes: 3, want: []string{
			"create demo-chore-1: missing (0 to 1)", "remove demo-job-1: orphan (1 to 0)",
		}},
	} {
		s := settled(t, load(t, stack))
		if tc.change != nil {
			tc.change(&s)
		}
		p := load(t, strings.NewReplacer(tc.edit...).Replace(stack))
		f, err := plan.Foresee(p, s, tc.options)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		got := forecast.Of(forecast.Question{Project: p, State: s, Options: tc.options, Foresight: f})
		if !slices.Equal(lines(got), tc.want) || got.Changes < tc.changes || (got.Changes == 0) != (len(tc.want) == 0) {
			t.Errorf("%s: %d changes\n\t%s\nwant %d or more\n\t%s\nof\n%s", tc.name, got.Changes, strings.Join(lines(got), "\n\t"), tc.changes, strings.Join(tc.want, "\n\t"), f.Sure)
		}
	}
}

// What stays as it is is there, too, for who counts it, and how it is.
func TestUnchanged(t *testing.T) {
	p := load(t, stack)
	s := settled(t, p)
	f, err := plan.Foresee(p, s, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := forecast.Of(forecast.Question{Project: p, State: s, Foresight: f})
	names := map[string]string{}
	for _, service := range got.Services {
		for _, c := range service.Containers {
			names[c.Name] = string(c.Action) + " " + c.Status + " " + c.Cause
		}
	}
	if len(names) != 5 || names["demo-web-2"] != "unchanged running " || names["demo-job-1"] != "unchanged exited has exited with 0" {
		t.Errorf("containers are %q", names)
	}
	if len(got.Images) != 3 || len(got.Networks) != 2 || len(got.Volumes) != 1 || got.Order == nil || got.Notes == nil {
		t.Errorf("there are %d images, %d networks, %d volumes", len(got.Images), len(got.Networks), len(got.Volumes))
	}
}

func each(s *plan.State, service string, change func(*plan.Container)) {
	for i := range s.Containers {
		if s.Containers[i].Service == service {
			change(&s.Containers[i])
		}
	}
}
