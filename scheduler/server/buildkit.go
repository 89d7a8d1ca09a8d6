package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/protobuf/proto"

	"tutti/scheduler/engine"
	"tutti/scheduler/imagebuild"
)

// buildkitRoutes are those of docker's clients that build with BuildKit: buildx (docker build from 23.0 on, docker buildx,
// docker compose) talks to it in its own protocol on connections that begin as requests; older ones send the build itself as
// POST /build?version=2.
func (s *server) buildkitRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /grpc", s.hijacked(func(r *http.Request, uid uint32, take func() (net.Conn, error)) error {
		return s.e.Builder.ServeControl(r.Context(), uid, take)
	}))
	mux.HandleFunc("POST /session", s.hijacked(func(r *http.Request, uid uint32, take func() (net.Conn, error)) error {
		return s.e.Builder.ServeSession(r.Context(), r.Header, uid, take)
	}))
	mux.HandleFunc("POST /build/cancel", func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		if id == "" {
			fail(w, http.StatusBadRequest, errors.New("build ID not provided"))
			return
		}
		s.builds.cancel(id)
	})
}

// protocol is what a connection speaks after the request, HTTP/2 without TLS.
const protocol = "h2c"

// hijacked serves a request whose connection goes on in another protocol. What serve returns before it has taken the
// connection is the answer.
func (s *server) hijacked(serve func(r *http.Request, uid uint32, take func() (net.Conn, error)) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p := r.Header.Get("Upgrade"); p != protocol {
			fail(w, http.StatusBadRequest, errors.New("protocol "+p+" not supported: this request is to be upgraded to "+protocol))
			return
		}
		uid, err := engine.PeerUID(r.Context())
		if err != nil {
			fail(w, http.StatusInternalServerError, err)
			return
		}
		taken := false
		err = serve(r, uid, func() (net.Conn, error) {
			conn, err := take(w)
			if err != nil {
				return nil, err
			}
			taken = true
			if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n"); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return &begun{conn.UnixConn, conn.buf}, nil
		})
		if err != nil && !taken {
			fail(w, http.StatusBadRequest, err)
		}
	}
}

// begun is a connection of which something may have been read.
type begun struct {
	*net.UnixConn
	buf *bufio.Reader
}

// Read reads what was read first.
func (b *begun) Read(p []byte) (int, error) {
	if b.buf.Buffered() > 0 {
		return b.buf.Read(p)
	}
	return b.UnixConn.Read(p)
}

// buildForSession answers POST /build?version=2.
func (s *server) buildForSession(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if id, ok := imagebuild.Upload(query); ok {
		s.upload(w, r, id)
		return
	}
	c, uploaded, err := imagebuild.Session(query)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if c.UID, err = engine.PeerUID(r.Context()); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	ctx, job, end := s.builds.begin(engine.WithVerb(r.Context(), "build"), query.Get("buildid"))
	defer end()
	switch {
	case uploaded:
		c.Stdin, err = job.body(ctx)
	case c.Context == "-":
		c.Stdin, err = r.Body, http.NewResponseController(w).EnableFullDuplex()
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if c.Context != "-" || uploaded { // net/http notices that the client has gone only behind the end of the body
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
	}
	out := newLines(w)
	id, err := s.e.Builder.BuildFor(ctx, c, func(m *controlapi.StatusResponse) error {
		data, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		return out.send(message{ID: "moby.buildkit.trace", Aux: data})
	})
	switch {
	case err != nil:
		_ = out.send(errorMessage(err))
	case id != "":
		_ = out.send(message{ID: "moby.image.id", Aux: map[string]string{"ID": id}})
	}
}
