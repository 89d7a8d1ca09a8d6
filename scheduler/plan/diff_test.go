package plan_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/project"
	"tutti/scheduler/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// load makes a project called demo of a compose file's text.
func load(t *testing.T, text string, profiles ...string) *project.Project {
	t.Helper()
	dir := t.TempDir()
	p, err := project.Load(t.Context(), project.Options{
		Files: []string{"-"}, Stdin: strings.NewReader(text), Name: "demo",
		WorkingDir: dir, ProjectDir: dir, Profiles: profiles,
	})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return p
}

// golden compares a plan with testdata/<name>.txt.
func golden(t *testing.T, name string, got *plan.Plan) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	text := got.String()
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("plan %s is\n%s\nwant\n%s", name, text, want)
	}
}

const stack = `
services:
  web:
    image: web:1
    depends_on:
      api: {condition: service_healthy, restart: true}
    networks: [front]
    deploy: {replicas: 2}
  api:
    build: .
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_started, required: false}
    networks: [front, back]
    healthcheck: {test: [CMD, "true"]}
  migrate:
    build: .
    image: demo-api
    depends_on: [db]
    networks: [back]
  cache:
    image: cache:1
    networks: [back]
  db:
    image: db:1
    volumes: [data:/data]
    networks: [back]
    healthcheck: {test: [CMD, "true"]}
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
`

// settled is the state after a plan was applied and everything came up.
func settled(t *testing.T, p *project.Project) plan.State {
	t.Helper()
	s := plan.State{Images: map[string]string{}}
	for _, name := range p.ServiceNames() {
		s.Images[p.ImageName(name)] = "sha256:" + strings.Repeat("0", 63) + "1"
	}
	for key, n := range p.Networks {
		s.Networks = append(s.Networks, plan.Network{ID: "net-" + key, Name: n.Name, Project: p.Name, Key: key, Hash: p.NetworkHash(key)})
	}
	for key, v := range p.Volumes {
		s.Volumes = append(s.Volumes, plan.Volume{Name: v.Name, Project: p.Name, Key: key, Hash: p.VolumeHash(key)})
	}
	got, err := plan.Diff(p, s, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range got.Ops {
		if op.Kind == plan.CreateContainer {
			s.Containers = append(s.Containers, settledContainer(p, s, op))
		}
	}
	return s
}

func settledContainer(p *project.Project, s plan.State, op plan.Op) plan.Container {
	service := p.Services[op.Service]
	c := plan.Container{
		ID: "id-" + op.Container, Name: op.Container, Service: op.Service, Number: op.Number,
		ConfigHash: p.Hash(op.Service), Config: p.Canonical(op.Service),
		Image: p.ImageName(op.Service), ImageID: s.Images[p.ImageName(op.Service)], Status: plan.Running,
	}
	if service.HealthCheck != nil {
		c.Health = plan.HealthHealthy
	}
	for key := range service.Networks {
		c.Networks = append(c.Networks, p.Networks[key].Name)
	}
	for _, v := range service.Volumes {
		if v.Type == "volume" && v.Source != "" {
			c.Volumes = append(c.Volumes, p.Volumes[v.Source].Name)
		}
	}
	for _, d := range p.Graph().Dependencies(op.Service) {
		c.DependsOn = append(c.DependsOn, plan.Dependency{Service: d.Service, Condition: plan.Condition(d.Condition), Restart: d.Restart, Required: d.Required})
	}
	if op.Service == "migrate" {
		c.Status = plan.Exited
	}
	return c
}

func diff(t *testing.T, p *project.Project, s plan.State, o plan.Options) *plan.Plan {
	t.Helper()
	got, err := plan.Diff(p, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUpPlans(t *testing.T) {
	p := load(t, stack)
	edit := func(pairs ...string) *project.Project { return load(t, strings.NewReplacer(pairs...).Replace(stack)) }
	state := func(change func(*plan.State)) plan.State {
		s := settled(t, p)
		if change != nil {
			change(&s)
		}
		return s
	}
	each := func(service string, change func(*plan.Container)) func(*plan.State) {
		return func(s *plan.State) {
			for i := range s.Containers {
				if s.Containers[i].Service == service {
					change(&s.Containers[i])
				}
			}
		}
	}
	timeout := 3 * time.Second
	for _, c := range []struct {
		name string
		p    *project.Project
		s    plan.State
		o    plan.Options
	}{
		{"first-up", p, plan.State{}, plan.Options{Wait: true}},
		{"first-up-of-a-part", p, plan.State{}, plan.Options{Services: []string{"migrate"}}},
		{"first-up-without-dependencies", p, plan.State{}, plan.Options{Services: []string{"api"}, NoDeps: true}},
		{"create-only", p, plan.State{}, plan.Options{NoStart: true, Services: []string{"db"}}},
		{"second-up", p, state(nil), plan.Options{Wait: true}},
		{"config-changed", edit("image: cache:1", "image: cache:1\n    environment: {A: b}\n    user: root"), state(nil), plan.Options{Timeout: &timeout}},
		{"config-changed-dependency-restarts", edit("context: .", "", "test: [CMD, \"true\"]", "test: [CMD, yes]"), state(nil), plan.Options{}},
		{"names-exchanged", edit("image: cache:1", "image: cache:1\n    container_name: demo-db-1", "image: db:1", "image: db:1\n    container_name: demo-cache-1"), state(nil), plan.Options{}},
		{"config-changed-but-no-recreate", edit("image: cache:1", "image: cache:1\n    user: root"), state(nil), plan.Options{NoRecreate: true}},
		{"image-changed", p, state(func(s *plan.State) { s.Images["cache:1"] = "sha256:" + strings.Repeat("f", 64) }), plan.Options{}},
		{"image-gone", p, state(func(s *plan.State) { delete(s.Images, "cache:1") }), plan.Options{}},
		{"build", p, state(nil), plan.Options{Build: true}},
		{"build-done", p, state(func(s *plan.State) { s.Images["demo-api"] = "sha256:" + strings.Repeat("e", 64) }), plan.Options{Build: true, ImagesFresh: true}},
		{"pull-always", p, state(nil), plan.Options{Pull: "always", Services: []string{"cache"}}},
		{"force-recreate", p, state(nil), plan.Options{ForceRecreate: true, RenewAnonVolumes: true}},
		{"force-recreate-one", p, state(nil), plan.Options{ForceRecreate: true, Services: []string{"api"}}},
		{"always-recreate-deps", p, state(nil), plan.Options{AlwaysRecreateDeps: true, Services: []string{"migrate"}}},
		{"network-changed", edit("internal: true", "internal: false"), state(nil), plan.Options{}},
		{"network-missing", p, state(func(s *plan.State) {
			s.Networks = slices.DeleteFunc(s.Networks, func(n plan.Network) bool { return n.Key == "front" })
			each("api", func(c *plan.Container) { c.Networks = []string{"demo_back"} })(s)
		}), plan.Options{}},
		{"volume-changed", edit("data: {}", "data: {labels: [a=b]}"), state(nil), plan.Options{}},
		{"scaled-down", edit("replicas: 2", "replicas: 1"), state(nil), plan.Options{}},
		{"scaled-up", p, state(nil), plan.Options{Scale: map[string]int{"web": 4}}},
		{"scaled-to-nothing", p, state(nil), plan.Options{Scale: map[string]int{"web": 0}}},
		{"crashed", p, state(each("db", func(c *plan.Container) { c.Status, c.ExitCode, c.Health = plan.Exited, 137, "" })), plan.Options{}},
		{"starting", p, state(func(s *plan.State) {
			each("db", func(c *plan.Container) { c.Health = plan.HealthStarting })(s)
			each("api", func(c *plan.Container) { c.Status = plan.Created })(s)
		}), plan.Options{}},
		{"one-gone", p, state(func(s *plan.State) {
			s.Containers = slices.DeleteFunc(s.Containers, func(c plan.Container) bool { return c.Name == "demo-web-1" })
		}), plan.Options{}},
		{"paused", p, state(each("cache", func(c *plan.Container) { c.Status = plan.Paused })), plan.Options{}},
		{"orphans-stay", edit("  cache:\n    image: cache:1\n    networks: [back]\n", "", "      cache: {condition: service_started, required: false}\n", ""), state(nil), plan.Options{}},
		{"orphans-go", edit("  cache:\n    image: cache:1\n    networks: [back]\n", "", "      cache: {condition: service_started, required: false}\n", ""), state(nil), plan.Options{RemoveOrphans: true}},
		{"not-ours", p, plan.State{
			Networks: []plan.Network{{ID: "n", Name: "demo_back"}}, Volumes: []plan.Volume{{Name: "demo_data"}},
			Images: map[string]string{"db:1": "sha256:1"},
		}, plan.Options{Services: []string{"db"}}},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, c.name, diff(t, c.p, c.s, c.o)) })
	}
}

// pull_policy daily pulls when the last pull is a day old, or its time is not known.
func TestRefreshPolicies(t *testing.T) {
	p := load(t, "services:\n  a: {image: a, pull_policy: daily}\n")
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	s := plan.State{Images: map[string]string{"a": "sha256:1"}}
	for age, want := range map[time.Duration]bool{0: true, time.Hour: false, 24 * time.Hour: true} {
		s.Pulled = nil
		if age > 0 {
			s.Pulled = map[string]time.Time{"a": now.Add(-age)}
		}
		got := diff(t, p, s, plan.Options{Now: now}).Ops[0].Kind == plan.PullImage
		if got != want {
			t.Errorf("pulled %s ago: pulls again: %v", age, got)
		}
	}
}

// Services that use the namespaces or volumes of another one's containers are created
// after them and replaced with them, selected or not.
func TestSharedNamespaces(t *testing.T) {
	const text = `
services:
  vpn: {image: vpn}
  app: {image: app, network_mode: "service:vpn"}
  files: {image: files, volumes_from: [app]}
`
	p := load(t, text)
	golden(t, "shared-first-up", diff(t, p, plan.State{}, plan.Options{}))
	golden(t, "shared-recreate", diff(t, p, settled(t, p), plan.Options{ForceRecreate: true, Services: []string{"vpn"}}))
}

func TestBuildContextsOfServices(t *testing.T) {
	p := load(t, `
services:
  base: {build: .}
  app: {build: {context: ., additional_contexts: {base: "service:base"}}}
`)
	golden(t, "build-contexts", diff(t, p, plan.State{}, plan.Options{}))
	golden(t, "build-contexts-only", diff(t, p, plan.State{}, plan.Options{Services: []string{"app"}}))
}

func TestDownPlans(t *testing.T) {
	p := load(t, stack)
	s := settled(t, p)
	s.Networks = append(s.Networks, plan.Network{ID: "old", Name: "demo_left-the-file", Project: "demo"}, plan.Network{ID: "x", Name: "foreign", Project: "other"})
	s.Volumes = append(s.Volumes, plan.Volume{Name: "foreign", Project: "other"})
	orphan := plan.Container{ID: "o", Name: "demo-old-1", Service: "old", Number: 1, Status: plan.Running, Networks: []string{"demo_back"}}
	run := plan.Container{ID: "r", Name: "demo-run-1", Service: "web", Number: 1, OneOff: true, Status: plan.Exited}
	crowded := s
	crowded.Containers = append(slices.Clone(s.Containers), orphan, run)
	for _, c := range []struct {
		name string
		p    *project.Project
		s    plan.State
		o    plan.DownOptions
	}{
		{"down", p, s, plan.DownOptions{}},
		{"down-without-file", nil, s, plan.DownOptions{Volumes: true}},
		{"down-all", p, s, plan.DownOptions{Volumes: true, RMI: "all"}},
		{"down-local-images", p, s, plan.DownOptions{RMI: "local"}},
		{"down-with-orphans", p, crowded, plan.DownOptions{}},
		{"down-orphans-too", p, crowded, plan.DownOptions{RemoveOrphans: true}},
		{"down-one-service", p, s, plan.DownOptions{Services: []string{"web"}, Volumes: true}},
		{"down-nothing", p, plan.State{}, plan.DownOptions{Volumes: true}},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, c.name, plan.DownPlan("demo", c.p, c.s, c.o)) })
	}
}

func TestLifecyclePlans(t *testing.T) {
	s := settled(t, load(t, stack))
	stopped := s
	stopped.Containers = slices.Clone(s.Containers)
	for i := range stopped.Containers {
		stopped.Containers[i].Status, stopped.Containers[i].Health = plan.Exited, ""
	}
	check := func(name string, p *plan.Plan, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, p)
	}
	p, err := plan.StopPlan("demo", s, nil, nil)
	check("stop", p, err)
	p, err = plan.StartPlan("demo", stopped, nil)
	check("start", p, err)
	p, err = plan.StartPlan("demo", stopped, []string{"web"})
	check("start-one", p, err)
	p, err = plan.RestartPlan("demo", s, []string{"api"}, false, nil)
	check("restart-one", p, err)
	p, err = plan.RestartPlan("demo", s, []string{"api"}, true, nil)
	check("restart-one-without-dependents", p, err)
	if _, err := plan.StopPlan("demo", s, []string{"gone"}, nil); !errors.Is(err, plan.ErrNoSuchService) {
		t.Errorf("error is %v", err)
	}
}

// Containers of different times may contradict one another about who depends on whom.
func TestContradictingRecordsAreNoCycle(t *testing.T) {
	s := plan.State{Containers: []plan.Container{
		{ID: "1", Name: "a", Service: "a", Status: plan.Running, DependsOn: []plan.Dependency{{Service: "b"}}},
		{ID: "2", Name: "b", Service: "b", Status: plan.Running, DependsOn: []plan.Dependency{{Service: "a"}}},
	}}
	if got := plan.DownPlan("demo", nil, s, plan.DownOptions{}); len(got.Ops) != 4 {
		t.Errorf("plan is\n%s", got)
	}
}

func TestDiffRefuses(t *testing.T) {
	p := load(t, "services:\n  a: {image: a, container_name: the-a, networks: [x], volumes: [\"v:/v\"]}\n  b: {image: b, pull_policy: never}\n  c: {build: .}\nnetworks: {x: {external: true}}\nvolumes: {v: {external: true}}\n")
	networks := []plan.Network{{Name: "x"}}
	for _, c := range []struct {
		name string
		s    plan.State
		o    plan.Options
		want string
	}{
		{"unknown service", plan.State{}, plan.Options{Services: []string{"x"}}, `no such service: "x"; the services are: a, b, c`},
		{"unknown service to scale", plan.State{}, plan.Options{Scale: map[string]int{"x": 1}}, "no such service"},
		{"scaled name", plan.State{}, plan.Options{Scale: map[string]int{"a": 2}}, "container_name"},
		{"negative scale", plan.State{}, plan.Options{Scale: map[string]int{"a": -1}}, "cannot be scaled to -1"},
		{"pull", plan.State{}, plan.Options{Pull: "sometimes"}, `--pull cannot be "sometimes"`},
		{"flags", plan.State{}, plan.Options{ForceRecreate: true, NoRecreate: true}, "exclude each other"},
		{"external network", plan.State{}, plan.Options{Services: []string{"a"}}, `network "x": external resource does not exist`},
		{"external volume", plan.State{Networks: networks}, plan.Options{Services: []string{"a"}}, `volume "v": external resource does not exist`},
		{"never pulled", plan.State{}, plan.Options{Services: []string{"b"}}, `service "b": image is missing: b, and its pull policy is never`},
		{"not built", plan.State{}, plan.Options{Services: []string{"c"}, NoBuild: true}, `service "c": image is missing: demo-c, and --no-build was given`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := plan.Diff(p, c.s, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
}
