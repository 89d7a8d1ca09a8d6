package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tutti/scheduler/api"
)

// scene answers for the engine during one `up` in the foreground: the test says what containers do.
type scene struct {
	*cli
	mu     sync.Mutex
	states map[string]string // container → state
	// finished is when containers ended of which the logs say so later.
	finished map[string]time.Time
	started  map[string]time.Time
	streams  []chan api.LogFrame
	calls    []string
	listed   int            // how often the containers were asked for
	upDone   chan api.Event // ends `up`
	onStop   func(verb string)
	options  []api.LogOptions
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{
		cli:    newCLI(t).compose("services: {web: {image: x}, db: {image: x}, quiet: {image: x, attach: false}}\n"),
		states: map[string]string{}, finished: map[string]time.Time{}, started: map[string]time.Time{}, upDone: make(chan api.Event, 1),
	}
	s.mux.HandleFunc("GET "+api.Prefix+"/projects/demo/containers", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listed++
		list := []api.Container{}
		for name, state := range s.states {
			list = append(list, api.Container{ID: name, Name: name, Service: service(name), Number: 1, State: state, Started: s.started[name], Finished: s.finished[name]})
		}
		writeJSON(w, list)
	})
	s.mux.HandleFunc("GET "+api.Prefix+"/projects/demo/logs", s.serveLogs)
	s.mux.HandleFunc("POST "+api.Prefix+"/{verb}", s.serveVerb)
	return s
}

func service(container string) string {
	return strings.TrimSuffix(strings.TrimPrefix(container, "demo-"), "-1")
}

func (s *scene) serveLogs(w http.ResponseWriter, r *http.Request) {
	o, err := api.ParseLogOptions(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ch := make(chan api.LogFrame, 100)
	s.mu.Lock()
	s.streams = append(s.streams, ch)
	s.options = append(s.options, o)
	s.calls = append(s.calls, "logs")
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	flush() //nolint:errcheck // the client says what it missed
	for {
		select {
		case f, ok := <-ch:
			if !ok {
				panic(http.ErrAbortHandler) // as if the engine had died
			}
			if len(o.Services) == 0 || slices.Contains(o.Services, f.Service) {
				json.NewEncoder(w).Encode(f) //nolint:errcheck // as above
				flush()                      //nolint:errcheck // as above
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (s *scene) serveVerb(w http.ResponseWriter, r *http.Request) {
	verb := r.PathValue("verb")
	s.mu.Lock()
	s.calls = append(s.calls, verb)
	s.mu.Unlock()
	if verb != "up" {
		if s.onStop != nil {
			s.onStop(verb)
		}
		writeJSON(w, api.Event{Kind: api.KindEnd})
		return
	}
	writeJSON(w, api.Event{Kind: api.KindResource, Resource: "Container", Name: "demo-web-1", Status: "Started", Phase: api.PhaseDone})
	http.NewResponseController(w).Flush() //nolint:errcheck // as above
	select {
	case e := <-s.upDone:
		writeJSON(w, e)
	case <-r.Context().Done():
	}
}

// tell sends a frame to whoever follows the logs.
func (s *scene) tell(event, container, line string, code int) {
	f := api.LogFrame{Event: event, ID: container, Container: container, Service: service(container), Number: 1, Stream: "stdout", ExitCode: code, Time: time.Now()}
	if event == "" {
		f.Line = []byte(line)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch event {
	case "start":
		s.states[container] = "running"
	case "exit":
		s.states[container], s.finished[container] = "exited", f.Time
	}
	s.streams[len(s.streams)-1] <- f
}

// say sends a line with a time.
func (s *scene) say(container, line string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[len(s.streams)-1] <- api.LogFrame{ID: container, Container: container, Service: service(container), Number: 1, Stream: "stdout", Time: at, Line: []byte(line)}
}

// late sends an event that was under way while the containers were asked for.
func (s *scene) late(container, event, id string, at time.Time) {
	s.send(api.LogFrame{Event: event, ID: id, Container: container, Service: service(container), Number: 1, Time: at})
}

// lateExit is the end of a container that had this one's name.
func (s *scene) lateExit(container, id string, code int) {
	s.send(api.LogFrame{Event: "exit", ID: id, Container: container, Service: service(container), Number: 1, Time: time.Now(), ExitCode: code})
}

func (s *scene) send(f api.LogFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[len(s.streams)-1] <- f
}

// exitsOnStop lets containers end when they are told to.
func (s *scene) exitsOnStop(code int, containers ...string) {
	s.onStop = func(string) {
		for _, c := range containers {
			s.tell("exit", c, "", code)
		}
	}
}

// up starts the command and lets it come so far that web and db run.
func (s *scene) up(flags ...string) (*result, func()) {
	s.t.Helper()
	r, wait := s.start(append([]string{"up"}, flags...)...)
	r.err.await(s.t, "demo-web-1  Started")
	for _, c := range []string{"demo-web-1", "demo-db-1"} {
		s.tell("start", c, "", 0)
	}
	s.upDone <- api.Event{Kind: api.KindEnd}
	return r, wait
}

// opened returns when the logs have been opened n times.
func (s *scene) opened(n int) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		opened := len(s.streams)
		s.mu.Unlock()
		if opened == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the logs were opened %d times, want %d", opened, n)
		}
	}
}

// asked returns when the containers have been asked for.
func (s *scene) asked() {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		listed := s.listed
		s.mu.Unlock()
		if listed > 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the containers were not asked for")
		}
	}
}

// called is what the engine was asked, in order.
func (s *scene) called() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.calls, " ")
}

const attaching = "Attaching to db-1, web-1\n"

const startedLine = " Container demo-web-1  Started\n"

func TestUpEndsWhenAllHaveStopped(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.up()
	s.tell("", "demo-web-1", "hello\n", 0)
	s.tell("", "demo-quiet-1", "not to be seen\n", 0)
	s.tell("", "demo-db-1", "no newline", 0)
	r.out.await(t, "hello")
	s.tell("exit", "demo-db-1", "", 0)
	r.out.await(t, "db-1 exited")
	s.tell("exit", "demo-web-1", "", 3)
	wait()
	r.expect(t, 0, attaching+"web-1  | hello\ndb-1   | no newline\ndb-1 exited with code 0\nweb-1 exited with code 3\n", startedLine)
	if got := s.called(); got != "logs up" {
		t.Errorf("the engine was asked %q: it has to watch before anything starts", got)
	}
}

// What containers print that have ended before `up` has must be waited for.
func TestUpShowsWhatShortRunsPrint(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.start("up")
	r.err.await(t, startedLine)
	at := time.Now()
	s.mu.Lock()
	s.states["demo-web-1"], s.finished["demo-web-1"] = "exited", at
	s.states["demo-db-1"], s.finished["demo-db-1"] = "exited", at.Add(-time.Hour) // and was not started now
	s.mu.Unlock()
	s.upDone <- api.Event{Kind: api.KindEnd}
	s.asked()
	s.say("demo-web-1", "done\n", at)
	s.tell("exit", "demo-web-1", "", 4)
	wait()
	r.expect(t, 0, attaching+"web-1  | done\nweb-1 exited with code 4\n", startedLine)
}

func TestUpStopsAtCtrlC(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.up("--no-log-prefix")
	s.exitsOnStop(143, "demo-web-1", "demo-db-1")
	s.tell("", "demo-web-1", "hello\n", 0)
	r.out.await(t, "hello")
	s.signals <- syscall.SIGINT
	wait()
	r.expect(t, 130, attaching+"hello\nweb-1 exited with code 143\ndb-1 exited with code 143\n",
		startedLine+"Gracefully stopping... (press Ctrl+C again to force)\n")
	if got := s.called(); got != "logs up stop" {
		t.Errorf("the engine was asked %q", got)
	}
}

func TestUpKillsAtSecondCtrlC(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.up()
	stopping := make(chan struct{})
	hang := make(chan struct{})
	defer close(hang)
	s.onStop = func(verb string) {
		if verb == "stop" {
			close(stopping)
			<-hang // they do not heed SIGTERM
			return
		}
		s.tell("exit", "demo-web-1", "", 137)
		s.tell("exit", "demo-db-1", "", 137)
	}
	r.err.await(t, startedLine)
	s.tell("", "demo-web-1", "hello\n", 0)
	r.out.await(t, "hello") // both are known to run: that comes another way than what the verb says
	s.signals <- syscall.SIGINT
	<-stopping
	s.signals <- syscall.SIGINT
	wait()
	if r.code != 130 || s.called() != "logs up stop kill" || !strings.Contains(r.out.String(), "db-1 exited with code 137") {
		t.Errorf("exit code %d, asked %q, printed\n%s%s", r.code, s.called(), r.out.String(), r.err.String())
	}
}

// Ctrl-C while the engine is still at it calls `up` off before anything is stopped.
func TestUpCalledOff(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.start("up")
	r.err.await(t, startedLine)
	s.tell("start", "demo-web-1", "", 0)
	s.exitsOnStop(143, "demo-web-1")
	s.tell("", "demo-web-1", "hello\n", 0)
	r.out.await(t, "hello")
	s.signals <- syscall.SIGTERM
	wait()
	r.expect(t, 130, attaching+"web-1  | hello\nweb-1 exited with code 143\n", startedLine+"Gracefully stopping... (press Ctrl+C again to force)\n")
}

func TestUpFails(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.start("up")
	r.err.await(t, startedLine)
	s.upDone <- api.Event{Kind: api.KindEnd, Error: "dependency failed to start: container demo-db-1 is unhealthy"}
	wait()
	r.expect(t, 1, "", startedLine+"dependency failed to start: container demo-db-1 is unhealthy\n")
}

// The engine dies and comes back: the log goes on where it broke off.
func TestUpSurvivesTheEngine(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, wait := s.up()
	at := time.Now()
	s.say("demo-web-1", "before\n", at)
	r.out.await(t, "before")
	s.mu.Lock()
	close(s.streams[0])
	s.mu.Unlock()
	s.opened(2)
	s.say("demo-web-1", "before\n", at) // the engine begins where we began
	s.say("demo-web-1", "at the same time\n", at)
	s.tell("", "demo-web-1", "after\n", 0)
	s.tell("exit", "demo-web-1", "", 0)
	s.tell("exit", "demo-db-1", "", 0)
	wait()
	r.expect(t, 0, attaching+"web-1  | before\nweb-1  | at the same time\nweb-1  | after\nweb-1 exited with code 0\ndb-1 exited with code 0\n", startedLine)
}

func TestLogsFollowEndsWithTheLastContainer(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.states = map[string]string{"demo-web-1": "running", "demo-db-1": "exited"}
	r, wait := s.start("logs", "-f", "-n", "5", "web", "db")
	s.opened(1)
	s.tell("", "demo-db-1", "old\n", 0)
	s.tell("", "demo-web-1", "new\n", 0)
	s.tell("exit", "demo-web-1", "", 0)
	wait()
	r.expect(t, 0, "db-1   | old\nweb-1  | new\nweb-1 exited with code 0\n", "")
	if o := s.options[0]; !o.Follow || o.Tail != 5 {
		t.Errorf("asked for %+v", o)
	}
}

// A container that ended between the look at what runs and the beginning of the stream is not followed for ever.
func TestLogsFollowOneThatHasJustEnded(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.states = map[string]string{"demo-web-1": "running", "demo-db-1": "running", "demo-quiet-1": "exited"}
	r, wait := s.start("logs", "-f", "web", "db", "quiet")
	s.opened(1)
	s.tell("", "demo-web-1", "last words\n", 0)
	s.tell("ended", "demo-quiet-1", "", 0)
	s.tell("ended", "demo-web-1", "", 3)
	s.tell("exit", "demo-web-1", "", 3)
	s.tell("exit", "demo-db-1", "", 0)
	wait()
	r.expect(t, 0, "web-1    | last words\nweb-1 exited with code 3\ndb-1 exited with code 0\n", "")
}

func TestLogsInterrupted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.states = map[string]string{"demo-web-1": "running"}
	r, wait := s.start("logs", "-f")
	s.opened(1)
	s.tell("", "demo-web-1", "line\n", 0)
	r.out.await(t, "line")
	s.signals <- syscall.SIGINT
	wait()
	r.expect(t, 130, "web-1  | line\n", "")
}
