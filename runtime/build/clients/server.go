// Package clients serves BuildKit's API to programs outside of this process: docker build, docker buildx and docker compose as
// clients of the engine's socket. There each of their connections begins as an HTTP request (POST /grpc, POST /session of the
// Docker Engine API) and is handed over to here.
//
// The controller is the one that our own builds use. What differs for these clients is decided in this package: an image
// becomes one of the store's, with names that are seen when it can be run, and what docker's daemon does not grant by default
// is refused.
package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/session"
	"google.golang.org/grpc"
)

// Config of New.
type Config struct {
	Controller *control.Controller
	Sessions   *session.Manager
	Dangling   string // begins the name under which the exporter stores a result that has none, before "@"

	// Begin is called when a build begins; the function that it returns when it has ended.
	Begin func() (end func())
	// Explain adds to a build's error what is to be done about it.
	Explain func(error) error
	// Platforms checks the platforms that a build is for.
	Platforms func(names []string) error
	// Shared tells which records of the cache have a layer that an image has, too.
	Shared func() (func(id string) bool, error)
	// Prune removes records of the cache.
	Prune func(context.Context, client.PruneInfo) ([]client.UsageInfo, error)

	Options []grpc.ServerOption // without unary and stream interceptors that are chained
}

// Server serves connections until Close.
type Server struct {
	config   Config
	grpc     *grpc.Server
	conns    *handover
	sessions *sessions
	shown    *shown
	ctx      context.Context //nolint:containedctx // of all connections
	cancel   context.CancelFunc

	mu    sync.Mutex
	done  bool // nothing is to be added to
	tasks sync.WaitGroup
}

// ErrClosed is what a connection meets that comes after Close.
var ErrClosed = errors.New("the builder is closed")

// New begins to serve; ctx ends it as Close does.
func New(ctx context.Context, c Config) *Server {
	s := &Server{config: c, conns: newHandover(), sessions: &sessions{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.shown = newShown(s.ctx, c.Dangling)
	s.grpc = grpc.NewServer(append(c.Options,
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize), grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream),
	)...)
	c.Controller.Register(s.grpc)
	s.tasks.Go(func() { _ = s.grpc.Serve(s.conns) }) // ends with Stop
	return s
}

// Close ends all connections and returns when nothing of their builds goes on.
func (s *Server) Close() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.cancel()
	s.grpc.Stop()
	s.tasks.Wait()
}

// ServeControl serves BuildKit's control API (POST /grpc) on the connection that take returns until it is closed, or ctx ends.
// uid is the user at its other end.
func (s *Server) ServeControl(ctx context.Context, uid uint32, take func() (net.Conn, error)) error {
	conn, err := take()
	if err != nil {
		return err
	}
	c := &handed{Conn: conn, peer: Peer(uid), gone: make(chan struct{})}
	if err := s.conns.hand(ctx, c); err != nil {
		return errors.Join(err, conn.Close())
	}
	select {
	case <-c.gone:
		return nil
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	err = c.Close()
	<-c.gone
	return err
}

// ServeSession makes what a client offers (files, secrets, credentials, an ssh agent) available to its builds (POST /session)
// until the connection is closed, or ctx ends. header is the request's. The connection is taken when nothing is wrong with it.
func (s *Server) ServeSession(ctx context.Context, header http.Header, uid uint32, take func() (net.Conn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	header, end, err := s.sessions.begin(header, uid)
	if err != nil {
		return err
	}
	defer end()
	if !s.task() {
		return ErrClosed
	}
	defer s.tasks.Done()
	conn, err := take()
	if err != nil {
		return err
	}
	if err := s.config.Sessions.HandleConn(ctx, conn, header); err != nil {
		return errors.Join(fmt.Errorf("session of a build's client: %w", err), conn.Close())
	}
	return nil
}

// task counts something for Close to wait for, unless that was called.
func (s *Server) task() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.tasks.Add(1)
	}
	return !s.done
}

// Dial connects to the control API from inside of this process, in the name of a user.
func (s *Server) Dial(ctx context.Context, uid uint32) (net.Conn, error) {
	here, there := net.Pipe()
	c := &handed{Conn: there, peer: Peer(uid), gone: make(chan struct{})}
	if err := s.conns.hand(ctx, c); err != nil {
		return nil, errors.Join(err, here.Close(), there.Close())
	}
	return here, nil
}
