package main

import (
	"strings"
	"testing"
	"time"

	"tutti/scheduler/api"
)

// What is told late of a container that was replaced, or of an earlier run, ends nothing: neither does the lines of the one in
// its place go missing, nor does `up` leave it.
func TestUpHearsOfThePastLate(t *testing.T) {
	t.Parallel()
	for _, ended := range []bool{true, false} {
		s := newScene(t)
		r, wait := s.start("up")
		r.err.await(t, startedLine)
		at := time.Now()
		s.mu.Lock()
		s.states["demo-web-1"], s.started["demo-web-1"] = "running", at
		if ended {
			s.states["demo-web-1"], s.finished["demo-web-1"] = "exited", at
		}
		s.states["demo-db-1"], s.started["demo-db-1"] = "running", at
		s.mu.Unlock()
		s.upDone <- api.Event{Kind: api.KindEnd}
		s.asked()
		s.late("demo-web-1", "exit", "another container's id", at)
		s.late("demo-web-1", "removed", "another container's id", time.Time{})
		s.late("demo-db-1", "start", "demo-db-1", time.Time{})
		s.late("demo-db-1", "exit", "demo-db-1", at.Add(-time.Second))
		s.say("demo-web-1", "done\n", at)
		s.tell("exit", "demo-web-1", "", 4)
		s.say("demo-db-1", "the end\n", at)
		s.tell("exit", "demo-db-1", "", 0)
		wait()
		r.expect(t, 0, attaching+"db-1 exited with code 0\nweb-1  | done\nweb-1 exited with code 4\ndb-1   | the end\ndb-1 exited with code 0\n", startedLine)
	}
}

// A container that `up` replaces is none that has exited; one that ends by itself while `up` goes on is, when it is known that it
// stays.
func TestUpTellsEndsFromReplacements(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags []string
		stays bool // web is not replaced
		out   string
	}{
		"replaced, abort":                 {[]string{"--abort-on-container-exit"}, false, "db-1 exited with code 3\n"},
		"replaced, abort at failures":     {[]string{"--abort-on-container-failure"}, false, "db-1 exited with code 3\n"},
		"replaced, exit code of web":      {[]string{"--exit-code-from", "web"}, false, "db-1 exited with code 3\n"},
		"ended by itself, abort":          {[]string{"--abort-on-container-exit"}, true, "web-1 exited with code 3\n"},
		"ended by itself, a watched exit": {nil, true, "web-1 exited with code 3\ndb-1 exited with code 3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.onStop = func(string) { s.tell("exit", "demo-web-1", "", 5) }
			want := 3
			switch {
			case c.stays && c.flags == nil:
				want = 0
			case c.stays:
				s.onStop = func(string) { s.tell("exit", "demo-db-1", "", 5) }
				c.out += "db-1 exited with code 5\n"
			default:
				c.out += "web-1 exited with code 5\n"
			}
			if name == "replaced, exit code of web" {
				want = 5
			}
			r, wait := s.start(append([]string{"up"}, c.flags...)...)
			r.err.await(t, startedLine)
			if c.stays {
				s.tell("exit", "demo-web-1", "", 3)
			} else {
				s.lateExit("demo-web-1", "the one before", 3)
				s.late("demo-web-1", "removed", "the one before", time.Time{})
				s.tell("start", "demo-web-1", "", 0)
			}
			s.tell("start", "demo-db-1", "", 0)
			s.tell("", "demo-db-1", "so far\n", 0)
			r.out.await(t, "so far") // all has been heard
			s.upDone <- api.Event{Kind: api.KindEnd}
			s.asked()
			if !c.stays || c.flags == nil {
				s.tell("exit", "demo-db-1", "", 3)
			}
			wait()
			aborting := ""
			if c.flags != nil {
				aborting = "Aborting on container exit...\n"
			}
			r.expect(t, want, attaching+"db-1   | so far\n"+c.out, startedLine+aborting)
		})
	}
}

func TestUpAborts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		flags   []string
		first   int // exit code of web, which ends first
		code    int
		aborted bool
	}{
		{"on exit", []string{"--abort-on-container-exit"}, 5, 5, true},
		{"on exit without failure", []string{"--abort-on-container-exit"}, 0, 0, true},
		{"code of another service", []string{"--exit-code-from", "db"}, 5, 143, true},
		{"code of the service", []string{"--exit-code-from", "web"}, 5, 5, true},
		{"on failure", []string{"--abort-on-container-failure"}, 5, 5, true},
		{"on failure, but there is none", []string{"--abort-on-container-failure"}, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			r, wait := s.up(c.flags...)
			s.exitsOnStop(143, "demo-db-1")
			s.tell("", "demo-web-1", "hello\n", 0)
			r.out.await(t, "hello")
			s.tell("exit", "demo-web-1", "", c.first)
			r.out.await(t, "web-1 exited")
			if !c.aborted {
				s.tell("exit", "demo-db-1", "", 0)
			}
			wait()
			if r.code != c.code || strings.Contains(r.err.String(), "Aborting on container exit...") != c.aborted {
				t.Errorf("exit code %d, want %d\n%s%s", r.code, c.code, r.out.String(), r.err.String())
			}
		})
	}
}
