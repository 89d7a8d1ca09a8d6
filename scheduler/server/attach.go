package server

import (
	"net/http"
)

func (s *server) resizeContainer(w http.ResponseWriter, r *http.Request) {
	width, height, err := size(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if err := s.e.ResizeContainer(r.PathValue("id"), width, height); err != nil {
		failWith(w, err)
	}
}
