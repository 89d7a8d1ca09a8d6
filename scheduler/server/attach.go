package server

import (
	"net/http"
	"sync"

	"tutti/scheduler/api"
	"tutti/scheduler/engine"
)

// attachRoutes are docker's requests about the streams of one container.
func (s *server) attachRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /containers/{id}/json", s.inspectContainer)
	mux.HandleFunc("POST /containers/{id}/attach", s.attachContainer)
	mux.HandleFunc("POST /containers/{id}/resize", s.resizeContainer)
}

func (s *server) resizeContainer(w http.ResponseWriter, r *http.Request) {
	width, height, err := size(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if err := s.e.ResizeContainer(r.Context(), r.PathValue("id"), width, height); err != nil {
		failWith(w, err)
	}
}

// attachContainer makes the connection the container's streams, as docker's "hijacking" has it. A container that has not
// been started yet is waited for: docker's run attaches first.
func (s *server) attachContainer(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	tty, err := s.e.HasTerminal(id)
	if err != nil {
		failWith(w, err)
		return
	}
	conn, err := take(w)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	defer conn.Close()
	ctx, stop := conn.untilGone(r.Context())
	defer stop()
	streams := conn.streams(tty)
	if !flag(r, "stdin") {
		streams.Stdin = nil
	}
	if !flag(r, "stdout") {
		streams.Stdout = nil
	}
	if !flag(r, "stderr") && !tty {
		streams.Stderr = nil
	}
	begun := sync.OnceFunc(func() { upgrade(conn, r) })
	o := engine.AttachTo{Logs: flag(r, "logs"), Waits: true, Begun: func(api.Begun) { begun() }}
	// How the container ended the client asks for beside, with wait.
	if _, err := s.e.Attach(ctx, id, o, streams); err != nil && ctx.Err() == nil {
		refuse(conn, err)
	}
}
