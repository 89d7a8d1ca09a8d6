package server

import (
	"net/http"

	"tutti/scheduler/api"
)

// replace makes way for an engine from another program.
func (s *server) replace(w http.ResponseWriter, r *http.Request) {
	q, ok := read[api.ReplaceRequest](w, r)
	if !ok {
		return
	}
	if err := s.e.Replace(q.Program); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
