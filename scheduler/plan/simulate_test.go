package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tutti/project"
	"tutti/scheduler/plan"
)

// world applies plans to a state one operation at a time, and objects to every one that
// a real engine could not do.
type world struct {
	p     *project.Project
	s     plan.State
	names map[string]int // container name → index
	// pending counts the starts by service that are still to come, in plans for a part of
	// the project; nil: everything that others depend on has to run.
	pending map[string]int
}

func newWorld(p *project.Project, s plan.State) *world {
	if s.Images == nil {
		s.Images = map[string]string{}
	}
	w := &world{p: p, s: s, names: map[string]int{}}
	w.s.Containers = slices.Clone(s.Containers)
	w.s.Networks = slices.Clone(s.Networks)
	w.s.Volumes = slices.Clone(s.Volumes)
	w.s.Images = maps.Clone(s.Images)
	w.index()
	return w
}

func (w *world) index() {
	clear(w.names)
	for i, c := range w.s.Containers {
		w.names[c.Name] = i
	}
}

func (w *world) network(name string) bool {
	return slices.ContainsFunc(w.s.Networks, func(n plan.Network) bool { return n.Name == name })
}

func (w *world) apply(op plan.Op) error {
	i, exists := w.names[op.Container]
	switch op.Kind {
	case plan.PullImage, plan.BuildImage:
		if w.s.Images[op.Resource] == "" {
			w.s.Images[op.Resource] = "sha256:new"
		}
	case plan.CreateNetwork:
		if w.network(op.Resource) {
			return fmt.Errorf("network exists")
		}
		w.s.Networks = append(w.s.Networks, plan.Network{ID: op.ID, Name: op.Resource, Key: op.Key, Project: w.p.Name, Hash: w.p.NetworkHash(op.Key)})
	case plan.RemoveNetwork:
		for _, c := range w.s.Containers {
			if slices.Contains(c.Networks, op.Resource) {
				return fmt.Errorf("container %s is on it", c.Name)
			}
		}
		w.s.Networks = slices.DeleteFunc(w.s.Networks, func(n plan.Network) bool { return n.Name == op.Resource })
	case plan.CreateVolume:
		w.s.Volumes = append(w.s.Volumes, plan.Volume{Name: op.Resource, Key: op.Key, Project: w.p.Name, Hash: w.p.VolumeHash(op.Key)})
	case plan.RemoveVolume:
		w.s.Volumes = slices.DeleteFunc(w.s.Volumes, func(v plan.Volume) bool { return v.Name == op.Resource })
	case plan.CreateContainer:
		if exists {
			return fmt.Errorf("container exists")
		}
		return w.create(op)
	case plan.StartContainer:
		if !exists || w.s.Containers[i].Status == plan.Running {
			return fmt.Errorf("container is not there or runs")
		}
		if w.pending != nil {
			w.pending[op.Service]--
		}
		return w.start(&w.s.Containers[i])
	case plan.StopContainer:
		if !exists || w.s.Containers[i].ID != op.ContainerID {
			return fmt.Errorf("not that container")
		}
		w.s.Containers[i].Status, w.s.Containers[i].Health = plan.Exited, ""
	case plan.RemoveContainer:
		if !exists || w.s.Containers[i].ID != op.ContainerID || w.s.Containers[i].Status == plan.Running {
			return fmt.Errorf("not that container, or it runs")
		}
		w.s.Containers = slices.Delete(w.s.Containers, i, i+1)
		w.index()
	case plan.PreStart, plan.AwaitCondition, plan.AwaitHealthy, plan.RemoveImage:
	}
	return nil
}

func (w *world) create(op plan.Op) error {
	c := settledContainer(w.p, w.s, op)
	c.ID = fmt.Sprintf("new-%s-%d", op.Container, len(op.Cause))
	c.Status, c.Health = plan.Created, ""
	if c.ImageID == "" {
		return fmt.Errorf("no image %s", c.Image)
	}
	for _, n := range c.Networks {
		if !w.network(n) {
			return fmt.Errorf("no network %s", n)
		}
	}
	for _, v := range c.Volumes {
		if !slices.ContainsFunc(w.s.Volumes, func(x plan.Volume) bool { return x.Name == v }) {
			return fmt.Errorf("no volume %s", v)
		}
	}
	w.s.Containers = append(w.s.Containers, c)
	w.index()
	return nil
}

// start demands that every dependency with a container runs already, or in plans for a
// part of the project that no start of one is still to come.
func (w *world) start(c *plan.Container) error {
	for _, d := range w.p.Graph().Dependencies(c.Service) {
		if w.pending != nil {
			if d.Required && w.pending[d.Service] > 0 {
				return fmt.Errorf("dependency %s is started later", d.Service)
			}
			continue
		}
		for _, other := range w.s.Containers {
			if other.Service == d.Service && d.Required && other.Status != plan.Running && other.Status != plan.Paused {
				return fmt.Errorf("dependency %s does not run", d.Service)
			}
		}
	}
	c.Status, c.ExitCode = plan.Running, 0
	if w.p.Services[c.Service].HealthCheck != nil {
		c.Health = plan.HealthHealthy
	}
	return nil
}

// randomProject has up to eight services that depend on earlier ones in all ways.
func randomProject(t *testing.T, random *rand.Rand) *project.Project {
	var b strings.Builder
	b.WriteString("services:\n")
	n := 1 + random.IntN(8)
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    image: image%d\n    healthcheck: {test: [CMD, x]}\n", i, random.IntN(n))
		var deps []string
		for j := range i {
			switch random.IntN(6) {
			case 0:
				deps = append(deps, fmt.Sprintf("s%d: {condition: service_started, restart: true}", j))
			case 1:
				deps = append(deps, fmt.Sprintf("s%d: {condition: service_healthy}", j))
			case 2:
				deps = append(deps, fmt.Sprintf("s%d: {condition: service_healthy, required: false}", j))
			}
		}
		if len(deps) > 0 {
			fmt.Fprintf(&b, "    depends_on: {%s}\n", strings.Join(deps, ", "))
		}
		if i > 0 && random.IntN(4) == 0 {
			fmt.Fprintf(&b, "    network_mode: service:s%d\n", random.IntN(i))
		} else {
			fmt.Fprintf(&b, "    networks: [%s]\n    deploy: {replicas: %d}\n", []string{"x", "y", "x, y"}[random.IntN(3)], random.IntN(4))
		}
		if random.IntN(2) == 0 {
			fmt.Fprintf(&b, "    volumes: [\"v%d:/v\"]\n", random.IntN(2))
		}
	}
	b.WriteString("networks: {x: {}, y: {}}\nvolumes: {v0: {}, v1: {}}\n")
	return load(t, b.String())
}

// disturb changes a settled state at random: containers crash, go, are stale.
func disturb(random *rand.Rand, s *plan.State) {
	s.Containers = slices.DeleteFunc(s.Containers, func(plan.Container) bool { return random.IntN(8) == 0 })
	for i := range s.Containers {
		c := &s.Containers[i]
		switch random.IntN(8) {
		case 0:
			c.Status, c.Health, c.ExitCode = plan.Exited, "", 1
		case 1:
			c.ConfigHash = "old"
		case 2:
			c.ImageID = "sha256:old"
		case 3:
			c.Status, c.Health = plan.Created, ""
		case 4:
			c.Networks = nil
		}
	}
	for i := range s.Networks {
		if random.IntN(4) == 0 {
			s.Networks[i].Hash = "old"
		}
	}
	if random.IntN(3) == 0 {
		s.Containers = append(s.Containers, plan.Container{ID: "orphan", Name: "demo-gone-1", Service: "gone", Number: 1, Status: plan.Running, Networks: []string{"demo_x"}})
	}
}

// From any state, every operation of a plan is possible when it comes; afterwards there
// is nothing left to do; and down takes everything away.
func TestPlansConverge(t *testing.T) {
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 7))
		p := randomProject(t, random)
		s := settled(t, p)
		disturb(random, &s)
		o := plan.Options{RemoveOrphans: true, ForceRecreate: random.IntN(4) == 0}
		if random.IntN(3) == 0 {
			o.Services = []string{"s0"}
			o.NoDeps = random.IntN(2) == 0
		}
		w := newWorld(p, s)
		first := diff(t, p, w.s, o)
		if o.Services != nil {
			w.pending = map[string]int{}
			for _, op := range first.Ops {
				if op.Kind == plan.StartContainer {
					w.pending[op.Service]++
				}
			}
		}
		run(t, seed, w, first)
		w.pending = nil
		o.ForceRecreate = false
		if again := diff(t, p, w.s, o); !again.Empty() {
			t.Fatalf("seed %d: after\n%s\nthere is left\n%s", seed, first, again)
		}
		everything := diff(t, p, w.s, plan.Options{RemoveOrphans: true})
		run(t, seed, w, everything)
		if again := diff(t, p, w.s, plan.Options{}); !again.Empty() {
			t.Fatalf("seed %d: after\n%s\nthere is left\n%s", seed, everything, again)
		}
		run(t, seed, w, plan.DownPlan("demo", p, w.s, plan.DownOptions{Volumes: true}))
		if len(w.s.Containers)+len(w.s.Networks)+len(w.s.Volumes) > 0 {
			t.Fatalf("seed %d: down left %+v", seed, w.s)
		}
	}
}

func run(t *testing.T, seed uint64, w *world, p *plan.Plan) {
	t.Helper()
	if p.Replan {
		t.Fatalf("seed %d: images are there but would be refreshed:\n%s", seed, p)
	}
	for _, op := range p.Ops {
		if err := w.apply(op); err != nil {
			t.Fatalf("seed %d: %s: %v, in\n%s", seed, op.ID, err, p)
		}
	}
}
