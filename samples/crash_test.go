package samples

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/runtime/statefile"
	"tutti/scheduler/container"
)

// storm is a project of everything that a crash can hurt: a writer whose lines are counted, a container that ends with a
// known code, one that is restarted again and again, a job, health, ports, networks, a volume.
const storm = `
name: storm
` + jobAndDB + `  web:
    <<: *base
    networks: [default, inner]
    ports: ["8090:80", "8090:80/udp"]
    depends_on: {db: {condition: service_healthy}}
  writer:
    image: busybox:latest
    command: sh -c 'i=0; while [ $$i -lt 3000 ]; do i=$$((i+1)); echo line $$i; [ $$((i % 25)) -ne 0 ] || usleep 5000; done; echo done; exit 7'
  ender:
    image: busybox:latest
    command: sh -c 'usleep 300000; exit 42'
  again:
    image: busybox:latest
    command: sh -c 'usleep 200000; exit 3'
    restart: always
networks:
  inner: {internal: true}
volumes:
  data:
`

// lasting are the services of storm that run until they are stopped.
var lasting = []string{"db", "web"}

// Who is killed.
var victims = []string{"engine", "keeper", "both"}

// crashRounds is how often something is killed; "make crash" asks for more.
func crashRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("TUTTI_CRASH_ROUNDS")
	if v == "" {
		return 9
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TUTTI_CRASH_ROUNDS=%q is no number of rounds", v)
	}
	return n
}

// crashSeed is the beginning of all chance of this test: that of another run to see it again.
func crashSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("TUTTI_CRASH_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("TUTTI_CRASH_SEED=%q: %v", v, err)
		}
	}
	t.Logf("TUTTI_CRASH_SEED=%d", seed)
	return seed
}

// Engine, keeper, or both are killed with -9 at a random moment of up, of the steady state and of down. Containers live on,
// their lines are complete, exit codes are right, restarts go on, and a last `down` leaves nothing.
func TestCrash(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", storm)
	random := rand.New(rand.NewPCG(crashSeed(t), 0))
	rounds := crashRounds(t)
	for i := range rounds {
		victim := victims[i%3]
		phase := []string{"up", "steady", "down"}[i/3%3]
		within := map[string]time.Duration{"up": 900 * time.Millisecond, "steady": 500 * time.Millisecond, "down": 200 * time.Millisecond}[phase]
		r := &round{site: s, victim: victim, after: time.Duration(random.Int64N(int64(within)))}
		r.name = fmt.Sprintf("round %d: %s killed %v into %s", i, victim, r.after, phase)
		map[string]func(){"up": r.up, "steady": r.steady, "down": r.down}[phase]()
		r.end()
		if t.Failed() {
			t.Fatal(r.name)
		}
	}
	t.Logf("%d rounds", rounds)
}

// round is one kill.
type round struct {
	site   *site
	name   string
	victim string
	after  time.Duration
}

// kill kills the victims that there are at this moment.
func (r *round) kill() {
	time.Sleep(r.after) // no event to wait for: any moment will do
	for _, p := range r.site.managers() {
		if r.victim == "both" || r.victim == p.role {
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may just have gone
		}
	}
}

func (r *round) up() {
	up := r.site.start("up", "-d")
	r.kill()
	_ = up.wait() // may have failed with its engine
	r.site.must("up", "-d")
	r.check(false)
}

func (r *round) steady() {
	s := r.site
	s.must("up", "-d")
	before := s.identities()
	r.kill()
	after := s.identities()
	for _, service := range lasting {
		if before[service] == "" || before[service] != after[service] {
			s.t.Errorf("%s: %s was %q and is %q", r.name, service, before[service], after[service])
		}
	}
	r.check(true)
}

func (r *round) down() {
	r.site.must("up", "-d")
	down := r.site.start("down", "-v", "-t", "0")
	r.kill()
	_ = down.wait()
}

// check waits for the ends that are to come and looks at all containers. exact says that the containers were all started
// before the kill, and without one.
func (r *round) check(exact bool) {
	s := r.site
	for service, code := range map[string]int{"writer": 7, "ender": 42} {
		want := fmt.Sprintf("exited %d", code)
		eventually(s.t, commandTimeout, func() error {
			state := strings.TrimSpace(s.must("ps", "--all", "--format", "{{.State}} {{.ExitCode}}", service))
			if state == want || r.victim == "both" && state == "exited 255" {
				return nil
			}
			return fmt.Errorf("%s: state of %s is %q, want %q", r.name, service, state, want)
		})
	}
	if exact {
		r.checkLines()
	}
	restarts := s.restarts("storm-again-1")
	eventually(s.t, commandTimeout, func() error {
		if now := s.restarts("storm-again-1"); now <= restarts {
			return fmt.Errorf("%s: again was restarted %d times, and %d times before", r.name, now, restarts)
		}
		return nil
	})
}

// checkLines compares the writer's log with what it wrote. When engine and keeper are killed in the middle of a batch, that
// batch is lost: nobody else had it.
func (r *round) checkLines() {
	s := r.site
	var want strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	want.WriteString("done\n")
	got := s.must("logs", "--no-log-prefix", "--no-color", "writer")
	if got == want.String() {
		return
	}
	if diff := difference(want.String(), got); r.victim != "both" || strings.Contains(diff, "+") || len(diff) > 64<<10 {
		s.t.Errorf("%s: the log differs:\n%s", r.name, diff)
	} else {
		s.t.Logf("%s: %d bytes of output were lost", r.name, len(diff))
	}
}

// end removes the project and sees that nothing is left of it.
func (r *round) end() {
	s := r.site
	s.must("down", "-v", "-t", "0")
	s.mustBeEmpty("storm")
	eventually(s.t, commandTimeout, func() error {
		if left := s.residue(); len(left) > 0 {
			return fmt.Errorf("%s: left behind: %s", r.name, strings.Join(left, "; "))
		}
		return nil
	})
}

// manager is a process that manages containers.
type manager struct {
	pid  int
	role string // engine or keeper
}

func (s *site) managers() (found []manager) {
	for _, p := range s.processes() {
		switch {
		case strings.Contains(p.cmdline, " engine --root "+s.root) && !strings.HasPrefix(p.cmdline, "tutti-keeper "):
			found = append(found, manager{p.pid, "engine"})
		case strings.HasPrefix(p.cmdline, "tutti-keeper "):
			found = append(found, manager{p.pid, "keeper"})
		}
	}
	return found
}

// identities are the first processes of the running containers by service: pid and start time.
func (s *site) identities() map[string]string {
	s.t.Helper()
	s.must("ps", "--quiet") // an engine that has adopted everything answers
	all := map[string]string{}
	for id, rec := range s.records() {
		if rec.State.Pid == 0 {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", rec.State.Pid))
		if errors.Is(err, fs.ErrNotExist) {
			continue // just ended
		}
		if err != nil {
			s.t.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		all[rec.Service] = fmt.Sprintf("%s process %d started %s", id, rec.State.Pid, fields[19])
	}
	return all
}

// records are the containers as they lie on disk, by id.
func (s *site) records() map[string]container.Record {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.root, "containers", "*", "container.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]container.Record{}
	for _, path := range paths {
		var rec container.Record
		err := statefile.Read(path, &rec)
		if errors.Is(err, fs.ErrNotExist) {
			continue // just removed
		}
		if err != nil {
			s.t.Fatal(err)
		}
		all[rec.ID] = rec
	}
	return all
}

// restarts is how often a container was restarted.
func (s *site) restarts(name string) int {
	s.t.Helper()
	for _, rec := range s.records() {
		if rec.Name == name {
			return rec.State.Restarts
		}
	}
	s.t.Fatalf("no record of container %s", name)
	return 0
}

// residue lists what an engine without containers must not have: in the kernel, in its run folder and in its state folder.
func (s *site) residue() []string {
	s.t.Helper()
	var found []string
	for _, l := range s.leftovers() {
		// The engine's own: the parent of all its cgroups.
		if base := filepath.Base(strings.TrimSpace(l)); base == "tutti-"+s.instance() {
			continue
		}
		found = append(found, strings.TrimSpace(l))
	}
	for _, p := range s.processes() {
		if cgroup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid)); strings.Contains(string(cgroup), "/tutti-"+s.instance()+"/") {
			found = append(found, fmt.Sprintf("process %d: %s", p.pid, p.cmdline))
		}
	}
	run := "/run/tutti-" + s.instance()
	for _, dir := range []string{
		run + "/containers", run + "/rootfs", run + "/files", s.root + "/containers", s.root + "/trash", s.root + "/projects", s.root + "/volumes",
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		for _, e := range entries {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}
