package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"tutti/runtime/files"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
)

// bring makes files of a container what they are on the client's side.
func (s *server) bring(w http.ResponseWriter, r *http.Request) {
	in := bufio.NewReaderSize(r.Body, 64<<10)
	removals, err := readRemovals(in)
	if err == nil {
		err = s.e.Bring(r.Context(), r.PathValue("id"), removals, in)
	}
	if err != nil {
		answerEarly(w, r, func() { failWith(w, err) })
	}
}

// readRemovals reads the first line of the request.
func readRemovals(in *bufio.Reader) ([]engine.Removal, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxBody {
			return nil, fmt.Errorf("%w: its first line is not whole: %w", engine.ErrInvalid, err)
		}
	}
	var q api.BringRequest
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalid, err)
	}
	removals := make([]engine.Removal, 0, len(q.Remove))
	for _, gone := range q.Remove {
		kind := files.FileKind(gone.Spared)
		switch kind {
		case files.AnyKind, files.PlainKind, files.FolderKind:
		default:
			return nil, fmt.Errorf("%w: there is no kind %q of file", engine.ErrInvalid, gone.Spared)
		}
		removals = append(removals, engine.Removal{Path: gone.Path, Spared: kind})
	}
	return removals, nil
}
