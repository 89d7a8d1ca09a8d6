package server

import (
	"fmt"
	"net/http"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/engine"
)

// reach tells who reaches whom: ?from=SERVICE&to=TARGET&timeout=2s.
func (s *server) reach(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := api.ReachRequest{From: v.Get("from"), To: v.Get("to")}
	if t := v.Get("timeout"); t != "" {
		d, err := time.ParseDuration(t)
		if err != nil {
			failWith(w, fmt.Errorf("%w: the timeout %q is no duration", engine.ErrInvalid, t))
			return
		}
		q.Timeout = d
	}
	report, err := s.e.Reach(r.Context(), r.PathValue("name"), q)
	reply(w, report, err)
}
