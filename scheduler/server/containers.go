package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/scheduler/journal"
	"tutti/scheduler/proctable"
)

// containerRoutes serve what docker's clients do with a container that exists, and what they watch.
func (s *server) containerRoutes(mux *http.ServeMux) {
	action := func(verb string, do func(r *http.Request, id string) error) {
		mux.HandleFunc("POST /containers/{id}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(engine.WithVerb(r.Context(), verb))
			done(w, do(r, r.PathValue("id")))
		})
	}
	action("pause", func(r *http.Request, id string) error { return s.e.PauseContainer(r.Context(), id) })
	action("unpause", func(r *http.Request, id string) error { return s.e.UnpauseContainer(r.Context(), id) })
	action("rename", func(r *http.Request, id string) error {
		return s.e.RenameContainer(r.Context(), id, r.URL.Query().Get("name"))
	})
	action("kill", func(r *http.Request, id string) error {
		return s.e.KillContainer(r.Context(), id, r.URL.Query().Get("signal"))
	})
	action("restart", func(r *http.Request, id string) error {
		timeout, err := gracePeriod(r)
		if err != nil {
			return err
		}
		return s.e.RestartContainer(r.Context(), id, timeout, r.URL.Query().Get("signal"))
	})
	mux.HandleFunc("POST /containers/{id}/start", func(w http.ResponseWriter, r *http.Request) {
		changed, err := s.e.StartContainer(engine.WithVerb(r.Context(), "start"), r.PathValue("id"))
		unlessUnchanged(w, changed, err)
	})
	mux.HandleFunc("POST /containers/{id}/stop", func(w http.ResponseWriter, r *http.Request) {
		timeout, err := gracePeriod(r)
		if err != nil {
			failWith(w, err)
			return
		}
		changed, err := s.e.StopContainer(engine.WithVerb(r.Context(), "stop"), r.PathValue("id"), timeout, r.URL.Query().Get("signal"))
		unlessUnchanged(w, changed, err)
	})
	mux.HandleFunc("DELETE /containers/{id}", func(w http.ResponseWriter, r *http.Request) {
		done(w, s.e.RemoveContainer(engine.WithVerb(r.Context(), "rm"), r.PathValue("id"), flag(r, "force"), flag(r, "v")))
	})
	mux.HandleFunc("POST /containers/create", s.createContainer)
	mux.HandleFunc("POST /containers/{id}/update", s.updateContainer)
	mux.HandleFunc("POST /containers/{id}/wait", s.waitContainer)
	mux.HandleFunc("GET /containers/{id}/top", s.topContainer)
	mux.HandleFunc("GET /containers/{id}/stats", s.containerStats)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET "+api.Prefix+"/projects/{name}/stats", s.projectStats)
	mux.HandleFunc("GET "+api.Prefix+"/containers/stats", s.statsOfContainers)
	mux.HandleFunc("GET "+api.Prefix+"/projects/{name}/why", func(w http.ResponseWriter, r *http.Request) {
		report, err := s.e.Why(r.Context(), r.PathValue("name"), r.URL.Query()["service"])
		reply(w, report, err)
	})
	mux.HandleFunc("GET "+api.Prefix+"/projects/{name}/reach", s.reach)
	mux.HandleFunc("GET "+api.Prefix+"/projects/{name}/top", func(w http.ResponseWriter, r *http.Request) {
		l, err := s.e.TopProject(r.Context(), r.PathValue("name"), r.URL.Query()["service"])
		reply(w, l, err)
	})
}

// unlessUnchanged answers 304 when there was nothing to do, as docker does.
func unlessUnchanged(w http.ResponseWriter, changed bool, err error) {
	if err == nil && !changed {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	done(w, err)
}

// gracePeriod is the parameter t in seconds; nil without one, -1 s for a stop that never kills.
func gracePeriod(r *http.Request) (*time.Duration, error) {
	t := r.URL.Query().Get("t")
	if t == "" {
		return nil, nil //nolint:nilnil // no grace period is an answer
	}
	n, err := strconv.Atoi(t)
	if err != nil {
		return nil, fmt.Errorf("the grace period %q is no number of seconds", t)
	}
	d := time.Duration(n) * time.Second
	return &d, nil
}

// waitContainer answers with its headers once the wait has begun, and with the exit code at its end.
func (s *server) waitContainer(w http.ResponseWriter, r *http.Request) {
	begun := false
	code, err := s.e.WaitContainer(r.Context(), r.PathValue("id"), r.URL.Query().Get("condition"), func() {
		begun = true
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // the client has gone: the end says so
	})
	switch {
	case err != nil && !begun:
		failWith(w, err)
	case err == nil:
		_ = json.NewEncoder(w).Encode(apicontainer.WaitResponse{StatusCode: int64(code)}) // nobody to tell
	}
}

func (s *server) topContainer(w http.ResponseWriter, r *http.Request) {
	titles, rows, err := s.e.Top(r.Context(), r.PathValue("id"), r.URL.Query().Get("ps_args"))
	if errors.Is(err, proctable.ErrArguments) {
		fail(w, http.StatusBadRequest, err)
		return
	}
	reply(w, apicontainer.TopResponse{Titles: titles, Processes: rows}, err)
}

func (s *server) containerStats(w http.ResponseWriter, r *http.Request) {
	stream := r.URL.Query().Get("stream") == "" || flag(r, "stream")
	out := newLines(w)
	begun := false
	err := s.e.ContainerStats(r.Context(), r.PathValue("id"), stream, flag(r, "one-shot"), func(v apicontainer.StatsResponse) error {
		begun = true
		return out.send(v)
	})
	if err != nil && !begun {
		failWith(w, err)
	}
}

func (s *server) projectStats(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	// A client that goes away is the end of the stream.
	_ = s.e.Stats(r.Context(), r.PathValue("name"), r.URL.Query()["service"], flag(r, "all"), flag(r, "stream"), func(l []api.Usage) error { return out.send(l) })
}

// statsOfContainers answers with the statistics of the containers that are named, or of all.
func (s *server) statsOfContainers(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	begun := false
	err := s.e.StatsOf(r.Context(), r.URL.Query()["container"], flag(r, "all"), flag(r, "stream"), func(l []api.Usage) error {
		begun = true
		return out.send(l)
	})
	if err != nil && !begun { // a client that goes away is the end of the stream
		failWith(w, err)
	}
}

// events streams docker's events. The headers go out when nothing can be missed any more.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter, err := journal.ParseFilter(q.Get("filters"))
	var o journal.Options
	if err == nil {
		o.Since, err = unixTime(q.Get("since"))
	}
	if err == nil {
		o.Until, err = unixTime(q.Get("until"))
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	out := newLines(w)
	w.Header().Set("Content-Type", "application/json")
	begun := false
	err = s.e.Events(r.Context(), o, filter, func() { begun = true; out.flush() }, func(m events.Message) error { return out.send(m) })
	if err != nil && !begun {
		failWith(w, err)
	}
}

// unixTime reads seconds since 1970 with a fraction, as docker's clients send times; "" is the zero time.
func unixTime(text string) (time.Time, error) {
	if text == "" || text == "0" {
		return time.Time{}, nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	var nanos int64
	if err == nil && fraction != "" {
		nanos, err = strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time in seconds since 1970", text)
	}
	return time.Unix(seconds, nanos), nil
}
