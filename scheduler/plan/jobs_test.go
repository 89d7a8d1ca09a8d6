package plan_test

import (
	"strings"
	"testing"
	"time"

	"tutti/scheduler/plan"
)

// A job that has succeeded is run again only for a reason; everything else that has ended is started, as docker compose does.
func TestJobs(t *testing.T) {
	t.Parallel()
	p := load(t, stack)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		change func(service string, c *plan.Container)
		o      plan.Options
		want   string // what is done about the job
	}{
		{"it has succeeded", nil, plan.Options{Wait: true}, ""},
		{"it has failed", func(s string, c *plan.Container) {
			if s == "migrate" {
				c.ExitCode = 1
			}
		}, plan.Options{}, "start container it exited with 1"},
		{"it is named", nil, plan.Options{Services: []string{"migrate"}}, "start container it was asked for"},
		{"what waits for it is named", nil, plan.Options{Services: []string{"api"}}, ""},
		{"everything is recreated", nil, plan.Options{ForceRecreate: true}, "remove container recreation was asked for, create container recreation was asked for, start container created"},
		{"dependencies are recreated", nil, plan.Options{AlwaysRecreateDeps: true, Services: []string{"api"}}, "remove container recreation of dependencies was asked for, create container recreation of dependencies was asked for, start container created"},
		{"its configuration has changed", func(s string, c *plan.Container) {
			if s == "migrate" {
				c.ConfigHash, c.Config = "other", nil
			}
		}, plan.Options{}, "remove container config changed, create container config changed, start container created"},
		{"its database is recreated", func(s string, c *plan.Container) {
			if s == "db" {
				c.ConfigHash, c.Config = "other", nil
			}
		}, plan.Options{}, "start container what it depends on is created: db"},
		{"its database was recreated earlier", func(s string, c *plan.Container) {
			if s == "db" {
				c.Created = now.Add(time.Hour)
			}
		}, plan.Options{}, "start container what it depends on was created since it succeeded: db"},
		{"what waits for it is recreated", func(s string, c *plan.Container) {
			if s == "api" {
				c.ConfigHash, c.Config = "other", nil
			}
		}, plan.Options{}, ""},
		{"its database crashed", func(s string, c *plan.Container) {
			if s == "db" {
				c.Status, c.Health = plan.Exited, ""
			}
		}, plan.Options{}, ""},
	} {
		s := settled(t, p)
		for i := range s.Containers {
			c := &s.Containers[i]
			c.Created, c.Finished = now, now.Add(time.Minute)
			if tt.change != nil {
				tt.change(c.Service, c)
			}
		}
		var got []string
		for _, op := range diff(t, p, s, tt.o).Ops {
			if op.Service == "migrate" && !op.Kind.Waits() {
				got = append(got, string(op.Kind)+" "+op.Cause)
			}
			if op.Kind == plan.AwaitHealthy && op.Service == "migrate" && tt.want == "" {
				t.Errorf("%s: the job is waited for", tt.name)
			}
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
	// Nobody waits for cache: that it ended with 0 does not make it a job.
	s := settled(t, p)
	for i := range s.Containers {
		if s.Containers[i].Service == "cache" {
			s.Containers[i].Status = plan.Exited
		}
	}
	if text := diff(t, p, s, plan.Options{}).String(); !strings.Contains(text, "start container  demo-cache-1  it exited with 0") {
		t.Errorf("a service that is no job: %s", text)
	}
}

// pre_start comes once before all starts of a service, behind what they wait for, and not beside a container that runs.
func TestPreStartPlan(t *testing.T) {
	t.Parallel()
	p := load(t, strings.Replace(stack, "    networks: [front]\n    deploy: {replicas: 2}", "    networks: [front]\n    deploy: {replicas: 2}\n    pre_start: [{command: prepare}]", 1))
	find := func(of *plan.Plan) (ops []plan.Op) {
		for _, op := range of.Ops {
			if op.Kind == plan.PreStart {
				ops = append(ops, op)
			}
		}
		return ops
	}
	first := diff(t, p, plan.State{}, plan.Options{})
	hooks := find(first)
	if len(hooks) != 1 || hooks[0].Container != "demo-web-1" || !strings.Contains(strings.Join(hooks[0].After, ","), "await condition web: api healthy") {
		t.Fatalf("hooks %+v in\n%s", hooks, first)
	}
	for _, op := range first.Ops {
		if op.Kind == plan.StartContainer && op.Service == "web" && !strings.Contains(strings.Join(op.After, ","), hooks[0].ID) {
			t.Errorf("%s does not wait for the hooks", op.ID)
		}
	}
	s := settled(t, p)
	if ops := find(diff(t, p, s, plan.Options{Scale: map[string]int{"web": 3}})); len(ops) > 0 {
		t.Errorf("beside containers that run: %+v", ops)
	}
	for i := range s.Containers {
		if s.Containers[i].Service == "web" {
			s.Containers[i].Status = plan.Exited
		}
	}
	if ops := find(diff(t, p, s, plan.Options{})); len(ops) != 1 {
		t.Errorf("when all have ended: %+v", ops)
	}
}
