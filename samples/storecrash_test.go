package samples

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// storeRounds is how often the engine is killed at work on its stores; "make crash" asks for more.
func storeRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("TUTTI_STORE_ROUNDS")
	if v == "" {
		return 5
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TUTTI_STORE_ROUNDS=%q is no number of rounds", v)
	}
	return n
}

// pushed builds an image of several layers and pushes it.
func (s *site) pushed(address string) string {
	s.t.Helper()
	name := address + "/team/app:v1"
	s.write("push/compose.yaml", "services: {app: {image: "+name+", build: {context: ., dockerfile_inline: \"FROM busybox\\n"+
		"RUN head -c 1000000 /dev/urandom > /a && for i in `seq 300`; do mkdir -p /d/$$i; echo $$i > /d/$$i/f; done\\nRUN head -c 2000000 /dev/urandom > /b\\nRUN head -c 500000 /dev/urandom > /c\\n\"}}}\n")
	s.must("-f", "push/compose.yaml", "build")
	s.must("-f", "push/compose.yaml", "push")
	s.must("system", "prune", "--all", "--force")
	return name
}

// storeWork are the things that an engine is killed in. n makes builds differ.
var storeWork = []struct {
	name   string
	within time.Duration
	begin  func(s *site, image, archive string, n int) *running
}{
	{"pull", 500 * time.Millisecond, func(s *site, image, _ string, _ int) *running { return s.start("image", "pull", image) }},
	{"build", 1200 * time.Millisecond, func(s *site, _, _ string, n int) *running {
		s.write("build/compose.yaml", fmt.Sprintf("services: {app: {image: built, build: {context: ., dockerfile_inline: \"FROM busybox\\n"+
			"RUN echo %d; head -c 300000 /dev/urandom > /a\\nCOPY --link . /linked\\nRUN for i in `seq 200`; do mkdir -p /d/$$i; done\\nRUN --mount=type=cache,target=/cache date >> /cache/dates\\n\"}}}\n", n))
		return s.start("-f", "build/compose.yaml", "build")
	}},
	{"prune", 150 * time.Millisecond, func(s *site, image, archive string, n int) *running {
		if n%2 == 0 {
			s.must("image", "pull", "-q", image)
		}
		return s.start("system", "prune", "--all", "--force")
	}},
	{"load", 200 * time.Millisecond, func(s *site, _, archive string, _ int) *running { return s.start("image", "load", "-i", archive) }},
	{"removal", 80 * time.Millisecond, func(s *site, image, _ string, _ int) *running {
		s.must("image", "pull", "-q", image)
		return s.start("image", "rm", "--force", image)
	}},
}

// The engine is killed with -9 at random moments of pulls, builds, prunes, loads and removals. After each, a check finds
// nothing, and the same work succeeds.
func TestStoreCrash(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	image := s.pushed(s.openRegistry())
	archive := filepath.Join(baseImages(t), "busybox.tar")
	random := rand.New(rand.NewPCG(crashSeed(t), 1))
	rounds := storeRounds(t)
	interrupted := 0
	for i := range rounds {
		work := storeWork[i%len(storeWork)]
		after := time.Duration(random.Int64N(int64(work.within)))
		name := fmt.Sprintf("round %d: killed %v into %s", i, after, work.name)
		s.load("busybox")
		running := work.begin(s, image, archive, i)
		time.Sleep(after) // no event to wait for: any moment will do
		for _, p := range s.managers() {
			if p.role == "engine" {
				_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may just have gone
			}
		}
		if running.wait().code != 0 {
			interrupted++
		}
		s.mustBeSound(name)
		s.load("busybox")
		if r := work.begin(s, image, archive, i).wait(); r.code != 0 && !strings.Contains(r.stderr, "no such image") {
			t.Errorf("%s: afterwards: %s", name, r)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
	t.Logf("%d rounds, %d of them cut the work off", rounds, interrupted)
	s.must("system", "prune", "--all", "--force")
	s.mustBeSound("at the end")
}

// While everything unused is pruned again and again, nothing goes that somebody needs: pulls, builds, loads, commits,
// containers that run, that have stopped, or that are just being made.
func TestPruneTakesNothingInUse(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	image := s.pushed(s.openRegistry())
	s.load("busybox")
	s.write("compose.yaml", "name: used\nservices:\n  web: {image: busybox, command: sleep infinity, volumes: [/anonymous]}\n  ended: {image: busybox, command: \"true\"}\n")
	s.must("up", "-d")
	stop := make(chan struct{})
	var pruner, workers sync.WaitGroup
	prunes := 0
	pruner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r := s.run("image", "prune", "--all", "--force"); r.code != 0 {
				t.Errorf("prune: %s", r)
			}
			for _, kind := range []string{"builder", "volume"} {
				if r := s.run(kind, "prune", "--all", "--force"); r.code != 0 {
					t.Errorf("prune: %s", r)
				}
			}
			prunes++
		}
	})
	archive := filepath.Join(baseImages(t), "busybox.tar")
	for _, work := range []struct {
		name  string
		steps func(i int) [][]string
	}{
		{"pull", func(int) [][]string { return [][]string{{"image", "pull", "-q", image}} }},
		{"load", func(int) [][]string { return [][]string{{"image", "load", "-i", archive}} }},
		{"build", func(i int) [][]string {
			s.write(fmt.Sprintf("b%d/compose.yaml", i), fmt.Sprintf("services: {app: {image: built%d, build: {context: ., dockerfile_inline: \"FROM busybox\\nRUN echo %d > /a\\nRUN echo again > /b\\n\"}}}\n", i, i))
			return [][]string{{"-f", fmt.Sprintf("b%d/compose.yaml", i), "build"}}
		}},
		{"run", func(i int) [][]string {
			return [][]string{{"run", "--rm", "-T", "--name", fmt.Sprintf("one-%d", i), "ended", "sh", "-c", "cat /etc/passwd > /dev/null"}}
		}},
		{"exec", func(int) [][]string {
			return [][]string{{"exec", "-T", "web", "sh", "-c", "ls / && touch /anonymous/x"}}
		}},
		{"start a container that has stopped", func(int) [][]string { return [][]string{{"start", "ended"}} }},
		{"commit", func(i int) [][]string {
			return [][]string{{"commit", "--pause=false", "web", fmt.Sprintf("committed:%d", i)}}
		}},
	} {
		workers.Go(func() {
			for i := range 3 {
				for _, args := range work.steps(i) {
					if r := s.run(args...); r.code != 0 {
						t.Errorf("%s, round %d: %s", work.name, i, r)
					}
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	pruner.Wait()
	if prunes == 0 {
		t.Error("nothing was pruned meanwhile")
	}
	s.mustBeSound("after all of it")
	s.must("down", "-v", "-t", "0")
}
