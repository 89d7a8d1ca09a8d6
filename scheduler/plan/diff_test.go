package plan_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestFirstUp(t *testing.T) {
	golden(t, "first-up", diff(t, load(t, stack), plan.State{}, plan.Options{Wait: true}))
}
func TestA(t *testing.T) {
	p := load(t, stack)
	s := settled(t, p)
	t.Log("again\n" + diff(t, p, s, plan.Options{}).String())
	t.Log("force\n" + diff(t, p, s, plan.Options{ForceRecreate: true}).String())
	t.Log("force db\n" + diff(t, p, s, plan.Options{ForceRecreate: true, Services: []string{"db"}}).String())
	t.Log("force api\n" + diff(t, p, s, plan.Options{ForceRecreate: true, Services: []string{"api"}}).String())
	t.Log("build\n" + diff(t, p, s, plan.Options{Build: true}).String())
	p2 := load(t, strings.Replace(stack, "internal: true", "internal: false", 1))
	t.Log("net\n" + diff(t, p2, s, plan.Options{}).String())
	p3 := load(t, strings.Replace(stack, "replicas: 2", "replicas: 1", 1)+"\n")
	t.Log("scaledown\n" + diff(t, p3, s, plan.Options{}).String())
	t.Log("down\n" + plan.DownPlan("demo", p, s, plan.DownOptions{Volumes: true, RMI: "all"}).String())
	rp, _ := plan.RestartPlan("demo", s, []string{"api"}, false, nil)
	t.Log("restart\n" + rp.String())
}
