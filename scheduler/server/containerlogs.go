package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"tutti/runtime/logs"
)

// stampFormat is how docker writes the time of a line: RFC 3339 with nine digits of the fraction, always.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// containerLogs answers GET /containers/{id}/logs: the bytes themselves of a container with a terminal, else docker's frames of
// both streams, which tutti's own client may ask for in any case, each a line, by "framed" (https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerAttach).
func (s *server) containerLogs(w http.ResponseWriter, r *http.Request) {
	o, err := logOptions(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	out := &logWriter{w: w, framed: flag(r, "framed"), stamps: flag(r, "timestamps"), details: flag(r, "details"), wanted: map[string]bool{
		logs.Stdout: flag(r, "stdout"), logs.Stderr: flag(r, "stderr"),
	}}
	if !out.wanted[logs.Stdout] && !out.wanted[logs.Stderr] {
		fail(w, http.StatusBadRequest, errors.New("Bad parameters: you must choose at least one stream")) //nolint:staticcheck // docker's words
		return
	}
	o.CaughtUp = out.flush
	if err := s.e.ContainerLogs(r.Context(), r.PathValue("id"), o, out.begin, out.entry); err != nil {
		if out.begun {
			panic(http.ErrAbortHandler) // what has come must not look like all
		}
		failWith(w, err)
	}
}

func logOptions(r *http.Request) (logs.ReadOptions, error) {
	q := r.URL.Query()
	o := logs.ReadOptions{Tail: -1, Follow: flag(r, "follow")}
	if tail := q.Get("tail"); tail != "" && tail != "all" {
		n, err := strconv.Atoi(tail)
		if err == nil && n >= 0 { // as in docker, what is no number is all
			o.Tail = n
		}
	}
	var err error
	if o.Since, err = unixTime(q.Get("since")); err != nil {
		return o, fmt.Errorf("since: %w", err)
	}
	if o.Until, err = unixTime(q.Get("until")); err != nil {
		return o, fmt.Errorf("until: %w", err)
	}
	return o, nil
}

// logWriter writes entries of a log as docker does.
type logWriter struct {
	w               http.ResponseWriter
	begun, tty      bool
	framed          bool // also with a terminal
	stamps, details bool
	wanted          map[string]bool
}

func (l *logWriter) begin(tty bool) {
	l.begun, l.tty = true, tty
	kind := "application/vnd.docker.multiplexed-stream"
	if tty && !l.framed {
		kind = "application/vnd.docker.raw-stream"
	}
	l.w.Header().Set("Content-Type", kind)
	l.w.WriteHeader(http.StatusOK)
	_ = l.flush() // the client has gone: the first entry says so
}

func (l *logWriter) flush() error { return http.NewResponseController(l.w).Flush() }

func (l *logWriter) entry(e logs.Entry) error {
	if !l.wanted[e.Stream] && !l.tty {
		return nil
	}
	var head string
	if l.details {
		head = " " // behind the attributes, of which our logs have none
	}
	if l.stamps {
		head = e.Time.UTC().Format(stampFormat) + " " + head
	}
	if !l.tty || l.framed {
		var frame [8]byte
		frame[0] = 1
		if e.Stream == logs.Stderr {
			frame[0] = 2
		}
		binary.BigEndian.PutUint32(frame[4:], uint32(len(head)+len(e.Line))) //nolint:gosec // a line has at most 1 MiB
		if _, err := l.w.Write(frame[:]); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(l.w, head); err != nil {
		return err
	}
	_, err := l.w.Write(e.Line)
	return err
}
