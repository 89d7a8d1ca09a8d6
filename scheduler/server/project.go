package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/engine"
)

func (s *server) projectRoutes(mux *http.ServeMux) {
	verb(mux, "up", s.e.Up)
	verb(mux, "plan", s.e.Plan)
	verb(mux, "down", s.e.Down)
	verb(mux, "build", s.e.Build)
	verb(mux, "pull", s.e.Pull)
	verb(mux, "push", s.e.Push)
	verb(mux, "halt", s.e.Halt)
	for _, name := range []string{"start", "stop", "restart", "kill", "pause", "unpause", "rm"} {
		verb(mux, name, func(ctx context.Context, q api.ServicesRequest, emit func(api.Event)) error {
			return s.e.Services(ctx, name, q, emit)
		})
	}
	mux.HandleFunc("GET "+api.Prefix+"/projects", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.e.Projects()) })
	mux.HandleFunc("GET "+api.Prefix+"/projects/{name}/containers", func(w http.ResponseWriter, r *http.Request) {
		l, err := s.e.Containers(r.PathValue("name"))
		if err != nil {
			failWith(w, err)
			return
		}
		answer(w, l)
	})
	mux.HandleFunc("GET "+api.Prefix+"/projects/{name}/logs", s.logs)
}

// verb serves a project verb: a JSON request, and events as lines of JSON until the one that says how it ended.
func verb[Request any](mux *http.ServeMux, name string, do func(context.Context, Request, func(api.Event)) error) {
	mux.HandleFunc("POST "+api.Prefix+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[Request](w, r)
		if !ok {
			return
		}
		out := newLines(w)
		// A client that has gone ends the verb by the request's context.
		finishVerb(out, do(engine.WithVerb(r.Context(), name), q, func(e api.Event) { _ = out.send(e) }))
	})
}

// finishVerb tells how a verb ended.
func finishVerb(out *lines, err error) {
	end := api.Event{Kind: api.KindEnd}
	if err != nil {
		end.Error, end.ExitCode = err.Error(), 1
		if errors.Is(err, context.Canceled) {
			end.ExitCode = 130
		}
	}
	_ = out.send(end)
}

// logs streams a project's log frames. The headers go out when nothing can be missed any more.
func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	o, err := api.ParseLogOptions(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	out := newLines(w)
	out.late = true
	defer out.close()
	begun := false
	err = s.e.Logs(r.Context(), r.PathValue("name"), o, func() { begun = true; out.flush() }, func(f api.LogFrame) error { return out.send(f) })
	if err != nil && !begun {
		failWith(w, err)
	}
}

// flushDelay is how long a line of a stream that may have millions waits for company.
const flushDelay = 2 * time.Millisecond

// lines writes values as lines of JSON, each sent at once or, when that may be late, with those that come right after it.
type lines struct {
	late bool

	mu      sync.Mutex
	enc     *json.Encoder
	rc      *http.ResponseController
	pending *time.Timer // flushes what is late; nil when nothing is
	closed  bool
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &lines{enc: json.NewEncoder(w), rc: http.NewResponseController(w)}
}

func (l *lines) send(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.enc.Encode(v); err != nil {
		return err
	}
	if !l.late {
		return l.rc.Flush()
	}
	if l.pending == nil {
		l.pending = time.AfterFunc(flushDelay, l.flush)
	}
	return nil
}

// flush sends what waits.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending != nil {
		l.pending.Stop()
		l.pending = nil
	}
	if !l.closed { // the response is not to be used after the handler's end
		_ = l.rc.Flush() // the client has gone: the next send says so
	}
}

// close sends what waits; nothing may be sent after it.
func (l *lines) close() {
	l.flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
