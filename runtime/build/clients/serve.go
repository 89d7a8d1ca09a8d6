package clients

import (
	"context"
	"errors"
	"net/http"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/buildid"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// caller is the user who is at the other end of a call's connection.
func caller(ctx context.Context) (Peer, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if user, ok := p.Addr.(Peer); ok {
			return user, nil
		}
	}
	return 0, errors.New("nobody knows who is at the other end of the connection")
}

// unary stands before the controller's calls with one answer.
func (s *Server) unary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.sessions.check(user, request); err != nil {
		return nil, err
	}
	switch q := request.(type) {
	case *controlapi.SolveRequest:
		return s.solve(ctx, q, handler)
	case *controlapi.DiskUsageRequest:
		return s.usage(ctx, q, handler)
	case *gateway.SolveRequest:
		if err := checkAttributes(q.FrontendOpt, s.config.Platforms); err != nil {
			return nil, err
		}
	}
	if ref := buildid.FromIncomingContext(ctx); ref != "" { // what a client does for its build meanwhile
		b, release := s.shown.hold(ref)
		defer release()
		return s.during(ctx, s.shown.going(b), request, handler)
	}
	return handler(ctx, request)
}

// during answers a call that belongs to a build. Of one that is refused it says why: clients show what they hear first, this
// or the answer to the build itself.
func (s *Server) during(ctx, going context.Context, request any, handler grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(going, cancel)()
	answer, err := handler(ctx, request)
	var refused refusal
	if err != nil && errors.As(context.Cause(going), &refused) {
		return nil, refused.error
	}
	return answer, err
}

// solve is a build.
func (s *Server) solve(ctx context.Context, q *controlapi.SolveRequest, handler grpc.UnaryHandler) (any, error) {
	b, release := s.shown.hold(q.Ref)
	defer release()
	names, err := prepare(q, s.config.Platforms)
	if err != nil {
		s.shown.refuse(b, err)
		return nil, err
	}
	s.shown.begin(b, names)
	defer s.config.Begin()()
	answer, err := handler(ctx, q)
	if err != nil {
		return nil, s.config.Explain(err)
	}
	return answer, nil
}

// usage lists the cache as the controller does; shared is what an image has, too, and not what lies there twice.
func (s *Server) usage(ctx context.Context, q *controlapi.DiskUsageRequest, handler grpc.UnaryHandler) (any, error) {
	answer, err := handler(ctx, q)
	list, ok := answer.(*controlapi.DiskUsageResponse)
	if err != nil || !ok {
		return answer, err
	}
	shared, err := s.config.Shared()
	if err != nil {
		return nil, err
	}
	for _, r := range list.Record {
		r.Shared = r.Shared && shared(r.ID)
	}
	return list, nil
}

// stream stands before the calls with many answers.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	user, err := caller(stream.Context())
	if err != nil {
		return err
	}
	c := checked{ServerStream: stream, sessions: s.sessions, user: user}
	switch info.FullMethod {
	case controlapi.Control_Prune_FullMethodName:
		return s.prune(c)
	case controlapi.Control_Status_FullMethodName:
		return s.follow(c, func(inner grpc.ServerStream) error { return handler(srv, inner) })
	case controlapi.Control_Session_FullMethodName:
		return s.session(c, user, func(inner grpc.ServerStream) error { return handler(srv, inner) })
	}
	return handler(srv, c)
}

// checked is a stream whose messages name the caller's sessions alone.
type checked struct {
	grpc.ServerStream
	sessions *sessions
	user     Peer
}

// RecvMsg refuses a message that names another's.
func (c checked) RecvMsg(m any) error {
	if err := c.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return c.sessions.check(c.user, m)
}

// prune removes records of the cache, and names them.
func (s *Server) prune(stream grpc.ServerStream) error {
	var q controlapi.PruneRequest
	if err := stream.RecvMsg(&q); err != nil {
		return err
	}
	removed, err := s.config.Prune(stream.Context(), client.PruneInfo{
		Filter: q.Filter, All: q.All, KeepDuration: time.Duration(q.KeepDuration),
		ReservedSpace: q.ReservedSpace, MaxUsedSpace: q.MaxUsedSpace, MinFreeSpace: q.MinFreeSpace,
	})
	for _, u := range removed {
		r := &controlapi.UsageRecord{
			ID: u.ID, Mutable: u.Mutable, InUse: u.InUse, Size: u.Size, Parents: u.Parents, UsageCount: int64(u.UsageCount),
			Description: u.Description, CreatedAt: timestamppb.New(u.CreatedAt), RecordType: string(u.RecordType), Shared: u.Shared,
		}
		if u.LastUsedAt != nil {
			r.LastUsedAt = timestamppb.New(*u.LastUsedAt)
		}
		if sendErr := stream.SendMsg(r); sendErr != nil {
			return errors.Join(err, sendErr)
		}
	}
	return err
}

// session is one that a client opens as a call of the control API, and not with a request of its own.
func (s *Server) session(stream grpc.ServerStream, user Peer, serve func(grpc.ServerStream) error) error {
	asked, _ := metadata.FromIncomingContext(stream.Context())
	header := http.Header{}
	for key, values := range asked {
		header[http.CanonicalHeaderKey(key)] = values
	}
	header, end, err := s.sessions.begin(header, uint32(user))
	if err != nil {
		return err
	}
	defer end()
	known := metadata.MD{}
	for key, values := range header {
		known.Set(key, values...)
	}
	return serve(within{stream, metadata.NewIncomingContext(stream.Context(), known)})
}

// within is a stream with another context.
type within struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as grpc has it
}

// Context is the other context.
func (w within) Context() context.Context { return w.ctx }
