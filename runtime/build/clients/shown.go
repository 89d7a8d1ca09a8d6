package clients

import (
	"strings"
	"sync"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// shown knows the names of the images that are being built. The exporter tells of a name that it gives for the time being
// (see Worker); whoever follows the build is told of the names that the image gets.
type shown struct {
	dangling string

	mu     sync.Mutex
	builds map[string]*named // by the build's ref
}

type named struct {
	names []string
	users int // the build itself, and those who follow it
}

func newShown(dangling string) *shown {
	return &shown{dangling: dangling + "@", builds: map[string]*named{}}
}

// hold keeps what is known of a build until release is called; names are the image's, nil adds none.
func (s *shown) hold(ref string, names []string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.builds[ref]
	if b == nil {
		b = &named{}
		s.builds[ref] = b
	}
	b.users++
	b.names = append(b.names, names...)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if b.users--; b.users == 0 && s.builds[ref] == b {
			delete(s.builds, ref)
		}
	}
}

func (s *shown) of(ref string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.builds[ref]; b != nil {
		return b.names
	}
	return nil
}

// present is a message as the client gets it. The names of a build that is over are not known: then it was just the image.
func (s *shown) present(ref string, m *controlapi.StatusResponse) *controlapi.StatusResponse {
	var out []*controlapi.VertexStatus
	changed := false
	for _, v := range m.Statuses {
		verb, name, ok := strings.Cut(v.ID, s.dangling)
		if !ok || name == "" {
			out = append(out, v)
			continue
		}
		changed = true
		names := s.of(ref)
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

// renaming is the stream of a build's progress.
type renaming struct {
	grpc.ServerStream
	shown   *shown
	ref     string
	release func()
}

// RecvMsg learns which build it is.
func (r *renaming) RecvMsg(m any) error {
	if err := r.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if q, ok := m.(*controlapi.StatusRequest); ok && r.release == nil {
		r.ref, r.release = q.Ref, r.shown.hold(q.Ref, nil)
	}
	return nil
}

// SendMsg sends what is to be seen.
func (r *renaming) SendMsg(m any) error {
	if s, ok := m.(*controlapi.StatusResponse); ok {
		m = r.shown.present(r.ref, s)
	}
	return r.ServerStream.SendMsg(m)
}

func (r *renaming) close() {
	if r.release != nil {
		r.release()
	}
}
