package clients

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// shown knows what those are told who follow a build. The exporter tells of a name that it gives for the time being (see
// Worker), instead of which they are to see the names that the image gets. And a build that is refused never begins: BuildKit
// would let them wait for it.
type shown struct {
	ctx      context.Context //nolint:containedctx // of all builds
	dangling string

	mu     sync.Mutex
	builds map[string]*named // by the build's ref
	late   []string          // builds that were refused, for those who ask for them afterwards
}

// maxLate bounds how many builds that were refused are remembered.
const maxLate = 32

type named struct {
	names  []string
	users  int             // the build itself, and those who wait for it or follow it
	going  context.Context //nolint:containedctx // ends when the build is refused, which is its cause
	cancel context.CancelCauseFunc
}

func newShown(ctx context.Context, dangling string) *shown {
	return &shown{ctx: ctx, dangling: dangling + "@", builds: map[string]*named{}}
}

// hold keeps what is known of a build until release is called.
func (s *shown) hold(ref string) (b *named, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = s.builds[ref]
	if b == nil {
		b = &named{}
		b.going, b.cancel = context.WithCancelCause(s.ctx)
		s.builds[ref] = b
	}
	b.users++
	return b, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if b.users--; b.users == 0 && s.builds[ref] == b {
			s.leave(ref, b)
		}
	}
}

// leave forgets a build that nobody holds, unless it was refused; mu is held.
func (s *shown) leave(ref string, b *named) {
	if b.going.Err() == nil {
		s.late = slices.DeleteFunc(s.late, func(r string) bool { return r == ref })
		delete(s.builds, ref)
		b.cancel(nil) // nobody is there who could hear of it
		return
	}
	if slices.Contains(s.late, ref) {
		return
	}
	if s.late = append(s.late, ref); len(s.late) > maxLate {
		oldest := s.late[0]
		s.late = s.late[1:]
		if s.builds[oldest].users == 0 {
			delete(s.builds, oldest)
		}
	}
}

// begin tells the names of a build's image.
func (s *shown) begin(b *named, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.names = names
	if b.going.Err() != nil { // one of that name was refused before
		b.going, b.cancel = context.WithCancelCause(s.ctx)
	}
}

// refuse says that a build does not begin, and why.
func (s *shown) refuse(b *named, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.cancel(refusal{why})
}

// refusal is why a build does not begin.
type refusal struct{ error }

// going ends when the build is refused.
func (s *shown) going(b *named) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.going
}

func (s *shown) of(b *named) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.names
}

// present is a message as the client gets it. The names of a build that is over are not known: then it was just the image.
func (s *shown) present(b *named, m *controlapi.StatusResponse) *controlapi.StatusResponse {
	var out []*controlapi.VertexStatus
	changed := false
	for _, v := range m.Statuses {
		verb, name, ok := strings.Cut(v.ID, s.dangling)
		if !ok || name == "" {
			out = append(out, v)
			continue
		}
		changed = true
		names := s.of(b)
		if len(names) == 0 {
			names = []string{"image"}
		}
		for _, name := range names {
			c := proto.CloneOf(v)
			c.ID = verb + name
			out = append(out, c)
		}
	}
	if !changed {
		return m
	}
	return &controlapi.StatusResponse{Vertexes: m.Vertexes, Statuses: out, Logs: m.Logs, Warnings: m.Warnings}
}

// following is the stream of a build's progress.
type following struct {
	grpc.ServerStream
	shown *shown
	known chan *named // gets the build, and is closed, when the client has said which

	mu      sync.Mutex
	build   *named
	release func()
	over    bool
}

// RecvMsg learns which build it is.
func (f *following) RecvMsg(m any) error {
	if err := f.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	q, ok := m.(*controlapi.StatusRequest)
	f.mu.Lock()
	defer f.mu.Unlock()
	if ok && f.build == nil && !f.over {
		f.build, f.release = f.shown.hold(q.Ref)
		f.known <- f.build
	}
	return nil
}

// SendMsg sends what is to be seen.
func (f *following) SendMsg(m any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return errRefused
	}
	if s, ok := m.(*controlapi.StatusResponse); ok && f.build != nil {
		m = f.shown.present(f.build, s)
	}
	return f.ServerStream.SendMsg(m)
}

// close is called when the client is told nothing more.
func (f *following) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if f.release != nil {
		f.release()
		f.release = nil
	}
}

var errRefused = errors.New("the build is refused")

// follow tells a client how its build goes on.
func (s *Server) follow(stream grpc.ServerStream, serve func(grpc.ServerStream) error) error {
	f := &following{ServerStream: stream, shown: s.shown, known: make(chan *named, 1)}
	defer f.close()
	if !s.task() {
		return ErrClosed
	}
	served := make(chan error, 1)
	go func() { // BuildKit waits for a build that it does not know, whatever becomes of the client
		defer s.tasks.Done()
		served <- serve(f)
	}()
	var refused <-chan struct{} // nil: the build is not known
	for {
		select {
		case err := <-served:
			return err
		case b := <-f.known:
			refused = s.shown.going(b).Done()
		case <-refused:
			return nil // the answer to the build itself says why
		}
	}
}
