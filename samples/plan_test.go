package samples

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/scheduler/api"
)

const plannedStack = `
services:
  web:
    image: busybox:latest
    command: sleep 1000
    init: true
    environment: {LEVEL: info, KEY: one}
    ports: ["8094:80"]
    networks: [front, back]
    depends_on:
      db: {condition: service_healthy, restart: true}
      job: {condition: service_completed_successfully}
  db:
    image: busybox:latest
    command: sleep 1000
    init: true
    volumes: ["data:/data", /anonymous]
    networks: [back]
    healthcheck: {test: "true", interval: 50ms}
  side: {image: "busybox:latest", command: sleep 1000, init: true, network_mode: "service:db"}
  job: {image: "busybox:latest", command: "true", networks: [back]}
  worker: {image: "busybox:latest", command: sleep 1000, init: true, networks: [back], scale: 1}
networks: {front: {}, back: {}}
volumes: {data: {}}
`

// What plan says up does, for edits of the file, for flags, and for what happens behind tutti's back; and after up it says
// that nothing would change. It changes nothing itself, and leaves no engine behind.
func TestPlan(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", plannedStack)
	s.waitUntilIdle()
	before := s.host.snapshot()
	if p := s.planned(2, "--pull", "always"); len(p.Images) != 1 || p.Images[0].Action != api.ActionPull || p.Order[0][0].ID != "pull image busybox:latest" {
		t.Errorf("of nothing the plan is %+v", p)
	}
	s.mustBeEmpty("project")
	s.mustBeAs(before)
	text := plannedStack
	for _, step := range plannedSteps {
		if step.do != nil {
			step.do(s)
		}
		text = strings.NewReplacer(step.edit...).Replace(text)
		s.write("compose.yaml", text)
		s.foretold(step)
	}
	s.must("down", "--volumes", "--timeout", "0")
	s.mustBeEmpty("project")
}

// plannedStep is one change of a project, and what plan is to say of it.
type plannedStep struct {
	name string
	do   func(*site)
	edit []string // pairs for strings.NewReplacer; they last
	args string   // of plan and up
	want string   // the containers that are to change: "recreate project-web-1 start project-db-1"
	then string   // arguments of the plan that says that nothing would change
	says []string // parts of what plan prints for people
}

var plannedSteps = []plannedStep{
	{name: "the first up", want: "create project-db-1 create project-job-1 create project-side-1 create project-web-1 create project-worker-1"},
	{name: "the second"},
	{
		name: "a variable", edit: []string{"LEVEL: info, KEY: one", "LEVEL: debug, KEY: two"}, want: "recreate project-web-1",
		says: []string{`environment.LEVEL  "info" -> "debug"`, "environment.KEY    (hidden) -> (hidden)"},
	},
	{name: "an edge", edit: []string{"service_healthy, restart", "service_started, restart"}},
	{
		name: "a dependency", edit: []string{"sleep 1000\n    init: true\n    volumes", "sleep 1001\n    init: true\n    volumes"},
		want: "recreate project-db-1 recreate project-side-1 restart project-web-1", says: []string{`command  "sleep 1000" -> "sleep 1001"`},
	},
	{
		name: "a network and a port", edit: []string{"front: {}", "front: {driver_opts: {com.docker.network.driver.mtu: '1400'}}", "8094:80", "8095:80"},
		want: "recreate project-web-1", says: []string{"~ project_front  recreate", `mtu  "1400"`, `ports 80/tcp  "8094" -> "8095"`},
	},
	{
		name: "a volume", edit: []string{"data:/data", "more:/data", "{data: {}}", "{more: {}}"}, args: "--no-deps db",
		want: "recreate project-db-1 recreate project-side-1", says: []string{"+ project_more  create", `volumes /data.source  "data" -> "more"`},
	},
	{name: "more", edit: []string{"scale: 1", "scale: 3"}, want: "create project-worker-2 create project-worker-3", says: []string{"scale 1 -> 3"}},
	{name: "fewer", args: "--scale worker=1", want: "remove project-worker-2 remove project-worker-3", then: "--scale worker=1"},
	{name: "a name", edit: []string{"scale: 3", "container_name: labour"}, want: "recreate project-worker-1", says: []string{"project-worker-1 -> labour"}},
	{name: "an orphan stays", edit: []string{"  worker: {", "  helper: {", "container_name: labour", "scale: 1"}, want: "create project-helper-1", says: []string{"orphan containers [labour]"}},
	{name: "an orphan goes", args: "--remove-orphans", want: "remove labour"},
	{name: "forced", args: "--force-recreate --no-deps web", want: "recreate project-web-1"},
	{name: "new anonymous volumes", args: "-V --force-recreate --no-deps side db", want: "recreate project-db-1 recreate project-side-1"},
	{name: "not recreated", edit: []string{"LEVEL: debug", "LEVEL: warn"}, args: "--no-recreate", then: "--no-recreate"},
	{name: "not concerned", args: "db", then: "db"},
	{name: "killed", do: func(s *site) { s.must("kill", "web"); s.state("web", "exited") }, args: "--no-recreate", want: "start project-web-1", then: "--no-recreate"},
	{name: "renamed", do: func(s *site) { s.must("container", "rename", "project-web-1", "odd") }, args: "--no-recreate", then: "--no-recreate"},
	{name: "its own name again", want: "recreate odd", says: []string{"odd -> project-web-1"}},
	{name: "the engine is another", do: func(s *site) {
		if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
			s.t.Fatal(err)
		}
	}},
	{name: "removed", do: func(s *site) { s.must("rm", "--stop", "--force", "helper") }, want: "create project-helper-1"},
	{name: "a network is gone", do: func(s *site) {
		s.must("network", "disconnect", "project_front", "project-web-1")
		s.must("network", "rm", "project_front")
	}, want: "recreate project-web-1", says: []string{"+ project_front  create: missing", "it is not on network project_front"}},
	{name: "paused", do: func(s *site) { s.must("pause", "helper") }, says: []string{"project-helper-1 is paused and stays so"}},
	{name: "another image of the name", do: func(s *site) {
		s.must("unpause", "helper")
		s.must("commit", "--change", "LABEL a=b", "helper", "mine:1")
	}, edit: []string{"helper: {image: \"busybox:latest\"", "helper: {image: \"mine:1\""}, want: "recreate project-helper-1", says: []string{`image     "busybox:latest" -> "mine:1"`}},
	{name: "the name is another image's", do: func(s *site) { s.must("commit", "--change", "LABEL a=c", "helper", "mine:1") }, want: "recreate project-helper-1", says: []string{"image id"}},
}

// planned is what plan answers; code is how it has to end.
func (s *site) planned(code int, args ...string) api.Plan {
	s.t.Helper()
	r := s.run(append([]string{"plan", "--format", "json"}, args...)...)
	var p api.Plan
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil || r.code != code {
		s.t.Fatalf("exit code %d, want %d, %v: %s", r.code, code, err, r)
	}
	return p
}

// foretold compares what plan says of a step with what up does, and with what plan says afterwards.
func (s *site) foretold(step plannedStep) {
	t := s.t
	t.Helper()
	args := strings.Fields(step.args)
	code := 2
	if step.want == "" {
		code = 0
	}
	before := s.runs()
	plan := s.planned(code, args...)
	if got := changes(plan); got != step.want {
		t.Errorf("%s: plan says %q, want %q", step.name, got, step.want)
	}
	if len(step.says) > 0 {
		words := s.run(append([]string{"plan"}, args...)...)
		for _, part := range step.says {
			if !strings.Contains(words.stdout, part) {
				t.Errorf("%s: plan does not say %q: %s", step.name, part, words)
			}
		}
	}
	if after := s.runs(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%s: plan has changed the containers from %v to %v", step.name, before, after)
	}
	s.must(append([]string{"up", "-d", "--timeout", "0"}, args...)...)
	if err := cameTrue(plan, before, s.runs()); err != nil {
		t.Errorf("%s: %v", step.name, err)
	}
	if r := s.run(append([]string{"plan"}, strings.Fields(step.then)...)...); r.code != 0 {
		t.Fatalf("%s: after up there is something to change: %s", step.name, r)
	}
}

// changes are the containers that are not left as they are, in the order of the answer.
func changes(p api.Plan) string {
	var all []string
	for _, service := range p.Services {
		for _, c := range service.Containers {
			if c.Action != api.ActionUnchanged {
				all = append(all, string(c.Action)+" "+c.Name)
			}
		}
	}
	return strings.Join(all, " ")
}

// ran is one container: its name, and when it was started last.
type ran struct {
	name    string
	started time.Time
}

// runs are the project's containers by id, as they lie on disk.
func (s *site) runs() map[string]ran {
	s.t.Helper()
	all := map[string]ran{}
	for id, r := range s.records() {
		name := r.Name
		if r.State.Name != "" {
			name = r.State.Name
		}
		all[id] = ran{name, r.State.Started}
	}
	return all
}

// cameTrue tells in what containers differ from what a plan has said of them.
func cameTrue(p api.Plan, before, after map[string]ran) error {
	var errs []error
	wrong := func(c api.PlannedContainer, what string) {
		errs = append(errs, fmt.Errorf("plan said: %s %s; %s", c.Action, c.Name, what))
	}
	told := map[string]bool{} // names of containers that there are to be
	for _, service := range p.Services {
		for _, c := range service.Containers {
			was, is := before[c.ID], after[c.ID]
			name := c.Name
			if c.NewName != "" {
				name = c.NewName
			}
			told[name] = c.Action != api.ActionRemove
			switch c.Action {
			case api.ActionUnchanged:
				if is != was {
					wrong(c, fmt.Sprintf("it was %v and is %v", was, is))
				}
			case api.ActionStart, api.ActionRestart:
				if !is.started.After(was.started) {
					wrong(c, fmt.Sprintf("it was %v and is %v", was, is))
				}
			case api.ActionRecreate, api.ActionRemove:
				if _, ok := after[c.ID]; ok {
					wrong(c, "it is still there")
				}
			case api.ActionCreate:
			default:
				wrong(c, "nobody can say whether that is so")
			}
		}
	}
	for id, c := range after {
		if was, ok := before[id]; ok && was == c {
			continue // of one that the plan was not about nothing is said
		}
		if !told[c.name] {
			errs = append(errs, fmt.Errorf("plan did not say that %s would be there", c.name))
		}
		delete(told, c.name)
	}
	for name, there := range told {
		if there && !slices.ContainsFunc(slices.Collect(maps.Values(after)), func(c ran) bool { return c.name == name }) {
			errs = append(errs, fmt.Errorf("plan said that %s would be there", name))
		}
	}
	return errors.Join(errs...)
}
