package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"tutti/scheduler/plan"
)

// one is a container in the shorthand of these tests: service, status, and what it depends on.
func one(service string, status plan.Status, deps ...plan.Dependency) plan.Container {
	return plan.Container{ID: service, Name: service + "-1", Service: service, Number: 1, Status: status, DependsOn: deps}
}

func needs(service string, condition plan.Condition) plan.Dependency {
	return plan.Dependency{Service: service, Condition: condition, Required: true}
}

func (h health) of(c plan.Container) plan.Container { c.Health = plan.Health(h); return c }

type health plan.Health

func ended(c plan.Container, code int) plan.Container {
	c.Status, c.ExitCode = plan.Exited, code
	return c
}

func TestUnmet(t *testing.T) {
	t.Parallel()
	optional := needs("db", plan.Healthy)
	optional.Required = false
	second := one("db", plan.Running)
	second.ID, second.Number = "db2", 2
	for _, tt := range []struct {
		name string
		dep  plan.Dependency
		db   []plan.Container
		want string
	}{
		{"no container", needs("db", plan.Healthy), nil, ""},
		{"started: it runs", needs("db", plan.Started), []plan.Container{one("db", plan.Running)}, ""},
		{"started: it is coming", needs("db", plan.Started), []plan.Container{one("db", plan.Restarting)}, "db to be started (db-1 is restarting)"},
		{"started: nobody starts it", needs("db", plan.Started), []plan.Container{ended(one("db", ""), 1)}, ""},
		{"without a condition", needs("db", ""), []plan.Container{one("db", plan.Restarting)}, "db to be started (db-1 is restarting)"},
		{"healthy: it is", needs("db", plan.Healthy), []plan.Container{health("healthy").of(one("db", plan.Running))}, ""},
		{"healthy: not yet", needs("db", plan.Healthy), []plan.Container{health("starting").of(one("db", plan.Running))}, "db to be healthy (db-1 is starting)"},
		{"healthy: no longer", needs("db", plan.Healthy), []plan.Container{health("unhealthy").of(one("db", plan.Running))}, "db to be healthy (db-1 is unhealthy)"},
		{"healthy: without a check", needs("db", plan.Healthy), []plan.Container{one("db", plan.Running)}, ""},
		{"healthy: paused", needs("db", plan.Healthy), []plan.Container{health("healthy").of(one("db", plan.Paused))}, "db to be healthy (db-1 is paused)"},
		{"healthy: nobody starts it", needs("db", plan.Healthy), []plan.Container{ended(one("db", ""), 3)}, "db to be healthy (db-1 has exited with 3)"},
		{"healthy: one of two", needs("db", plan.Healthy), []plan.Container{one("db", plan.Restarting), health("healthy").of(second)}, ""},
		{"completed", needs("db", plan.Completed), []plan.Container{ended(one("db", ""), 0)}, ""},
		{"completed: it runs", needs("db", plan.Completed), []plan.Container{one("db", plan.Running)}, "db to be completed (db-1 is running)"},
		{"completed: it failed", needs("db", plan.Completed), []plan.Container{ended(one("db", ""), 1)}, "db to be completed (db-1 has exited with 1)"},
		{"not required: on its way", optional, []plan.Container{one("db", plan.Restarting)}, "db to be healthy (db-1 is restarting)"},
		{"not required: down", optional, []plan.Container{ended(one("db", ""), 1)}, ""},
	} {
		web := one("web", plan.Restarting, tt.dep)
		var got []string
		for _, w := range plan.Unmet(web, append(tt.db, web)) {
			got = append(got, w.String())
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
}

func TestFollowers(t *testing.T) {
	t.Parallel()
	follows := plan.Dependency{Service: "db", Condition: plan.Healthy, Restart: true, Required: true}
	db := health("healthy").of(one("db", plan.Running))
	started := func(c plan.Container, seq, again uint64) plan.Container { c.Seq, c.Again = seq, again; return c }
	for _, tt := range []struct {
		name string
		all  []plan.Container
		want string
	}{
		{"nothing was restarted", []plan.Container{started(db, 1, 0), started(one("web", plan.Running, follows), 2, 0)}, ""},
		{"it was restarted", []plan.Container{started(db, 3, 3), started(one("web", plan.Running, follows), 2, 0)}, "web after db"},
		{"and the dependent after it", []plan.Container{started(db, 3, 3), started(one("web", plan.Running, follows), 4, 4)}, ""},
		{"it was restarted by a command", []plan.Container{started(db, 3, 0), started(one("web", plan.Running, follows), 2, 0)}, ""},
		{"it is not healthy yet", []plan.Container{health("starting").of(started(db, 3, 3)), started(one("web", plan.Running, follows), 2, 0)}, ""},
		{"without restart: true", []plan.Container{started(db, 3, 3), started(one("web", plan.Running, needs("db", plan.Healthy)), 2, 0)}, ""},
		{"one that does not run", []plan.Container{started(db, 3, 3), started(one("web", plan.Exited, follows), 2, 0)}, ""},
		{"one that is paused", []plan.Container{started(db, 3, 3), started(one("web", plan.Paused, follows), 2, 0)}, ""},
		{"another dependency is on its way: once for both", []plan.Container{
			started(db, 3, 3), one("cache", plan.Restarting), started(one("web", plan.Running, follows, needs("cache", plan.Started)), 2, 0),
		}, ""},
		{"several at the same time", []plan.Container{
			started(db, 3, 3), started(one("web", plan.Running, follows), 2, 0), started(one("worker", plan.Running, follows), 1, 0),
		}, "web after db, worker after db"},
	} {
		var got []string
		for _, f := range plan.Followers(tt.all) {
			got = append(got, f.Container.Service+" after "+f.Dependency)
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
}

// Restarts travel along a chain, and come to an end.
func TestFollowersEnd(t *testing.T) {
	t.Parallel()
	all := []plan.Container{one("s0", plan.Running)}
	for i := 1; i < 8; i++ {
		var deps []plan.Dependency
		for j := range i {
			deps = append(deps, plan.Dependency{Service: fmt.Sprint("s", j), Restart: true, Required: true})
		}
		all = append(all, one(fmt.Sprint("s", i), plan.Running, deps...))
	}
	for i := range all {
		all[i].Seq = uint64(i + 1)
	}
	seq := uint64(len(all))
	restart := func(id string) {
		i := slices.IndexFunc(all, func(c plan.Container) bool { return c.ID == id })
		seq++
		all[i].Seq, all[i].Again = seq, seq
	}
	restart("s0")
	for n := 0; ; n++ {
		next := plan.Followers(all)
		if len(next) == 0 {
			break
		}
		if n > 64 {
			t.Fatalf("%d restarts and no end", n)
		}
		restart(next[0].Container.ID)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Seq <= all[0].Seq {
			t.Errorf("%s was not restarted", all[i].ID)
		}
	}
}

func TestBoot(t *testing.T) {
	t.Parallel()
	job := one("migrate", plan.Exited, needs("seed", plan.Completed))
	web := one("web", plan.Exited, needs("db", plan.Healthy), needs("migrate", plan.Completed))
	for _, tt := range []struct {
		name     string
		job      plan.Container
		seed     plan.Container
		byPolicy string
		want     string
	}{
		{"the job had succeeded", ended(job, 0), ended(one("seed", ""), 0), "web db", "db web"},
		{"the job was interrupted", ended(job, 255), ended(one("seed", ""), 0), "web db", "db migrate web"},
		{"and the one before it", ended(job, 255), ended(one("seed", ""), 255), "web db", "db migrate seed web"},
		{"nobody waits for it", ended(job, 255), ended(one("seed", ""), 255), "db", "db"},
		{"nothing is started", ended(job, 255), ended(one("seed", ""), 255), "", ""},
	} {
		byPolicy := map[string]bool{}
		for name := range strings.FieldsSeq(tt.byPolicy) {
			byPolicy[name] = true
		}
		got := plan.Boot([]plan.Container{web, tt.job, tt.seed, one("db", plan.Exited), one("other", plan.Exited)}, byPolicy)
		if s := strings.Join(slices.Sorted(maps.Keys(got)), " "); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
}
