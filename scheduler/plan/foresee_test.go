package plan_test

import (
	"slices"
	"strings"
	"testing"

	"tutti/scheduler/plan"
)

// acts are the ids of a plan's operations, without those that wait.
func acts(p *plan.Plan) []string {
	var ids []string
	for _, op := range p.Ops {
		if !op.Kind.Waits() {
			ids = append(ids, op.ID)
		}
	}
	return ids
}

// What depends on an image that is to be fetched is foreseen both ways.
func TestForesee(t *testing.T) {
	const text = `
services:
  web: {image: web:1, depends_on: {db: {condition: service_started, restart: true}}}
  db: {image: db:1, pull_policy: always}
  other: {image: other:1}
`
	p := load(t, text)
	for _, tc := range []struct {
		name          string
		change        func(*plan.State)
		options       plan.Options
		sure, perhaps []string
	}{
		{"the image may be another", func(*plan.State) {}, plan.Options{}, []string{"pull image db:1"}, []string{
			"pull image db:1", "stop container demo-web-1", "stop container demo-db-1", "remove container demo-db-1",
			"create container demo-db-1", "start container demo-db-1", "start container demo-web-1",
		}},
		{"nothing is recreated", func(*plan.State) {}, plan.Options{NoRecreate: true}, []string{"pull image db:1"}, []string{"pull image db:1"}},
		{"it is gone", func(s *plan.State) { delete(s.Images, "db:1") }, plan.Options{Services: []string{"db"}}, []string{"pull image db:1"}, []string{
			"pull image db:1", "stop container demo-web-1", "stop container demo-db-1", "remove container demo-db-1",
			"create container demo-db-1", "start container demo-db-1", "start container demo-web-1",
		}},
		{"another image is missing, too", func(s *plan.State) {
			delete(s.Images, "other:1")
			s.Containers = slices.DeleteFunc(s.Containers, func(c plan.Container) bool { return c.Service != "db" })
		}, plan.Options{}, []string{
			"pull image db:1", "pull image other:1", "create container demo-other-1", "start container demo-other-1",
			"create container demo-web-1", "start container demo-web-1",
		}, nil},
		{"nobody has it", func(s *plan.State) { s.Containers = nil }, plan.Options{Services: []string{"db"}}, []string{
			"pull image db:1", "create container demo-db-1", "start container demo-db-1",
		}, []string{"pull image db:1", "create container demo-db-1", "start container demo-db-1"}},
		{"it is not asked for", func(*plan.State) {}, plan.Options{Pull: "missing"}, nil, nil},
	} {
		s := settled(t, p)
		tc.change(&s)
		f, err := plan.Foresee(p, s, tc.options)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		equal := func(got *plan.Plan, want []string) bool {
			ids := acts(got)
			slices.Sort(ids)
			return slices.Equal(ids, slices.Sorted(slices.Values(want)))
		}
		if !equal(f.Sure, tc.sure) {
			t.Errorf("%s: sure is\n%s", tc.name, f.Sure)
		}
		if tc.perhaps != nil && !equal(f.Perhaps, tc.perhaps) {
			t.Errorf("%s: perhaps is\n%s", tc.name, f.Perhaps)
		}
		if s.Images["db:1"] == plan.Undetermined {
			t.Errorf("%s: the state has been written to", tc.name)
		}
	}
	if _, err := plan.Foresee(p, settled(t, p), plan.Options{Services: []string{"nobody"}}); err == nil {
		t.Error("an unknown service is foreseen")
	}
}

// Rounds begin as the plan is carried out: images, networks, and the rest by what each waits for.
func TestRounds(t *testing.T) {
	p := load(t, stack)
	f, err := plan.Foresee(p, plan.State{}, plan.Options{Services: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, round := range f.Sure.Rounds() {
		var ids []string
		for _, op := range round {
			ids = append(ids, op.ID)
		}
		slices.Sort(ids)
		got = append(got, strings.Join(ids, ", "))
	}
	want := []string{
		"build image demo-api, pull image cache:1, pull image db:1",
		"create network demo_back, create network demo_front",
		"create container demo-api-1, create container demo-cache-1, create container demo-migrate-1, create volume demo_data",
		"create container demo-db-1, start container demo-cache-1",
		"await condition api: cache started, start container demo-db-1",
		"await condition api: db healthy, start container demo-migrate-1",
		"await condition api: migrate completed",
		"start container demo-api-1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("rounds are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
