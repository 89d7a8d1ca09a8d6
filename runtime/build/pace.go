package build

import (
	"context"
	"sync"

	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc"
)

// maxAsked is how many files of a folder may be asked for and not sent yet while the walk through it goes on. fsutil's sender
// takes 133 requests (128 in its queue, one for each of its 4 workers, and one at the door): this must be less.
const maxAsked = 64

// pace holds back the walk through a folder while files are asked for faster than they are sent. BuildKit starts a goroutine
// for each file that it asks for (fsutil's DiskWriter): with hundreds of thousands of files in a new context, those that
// wait would take most of a gigabyte.
type pace struct {
	mu      sync.Mutex
	waiting int           // files that were asked for and are not sent
	fewer   chan struct{} // closed when waiting falls to maxAsked; nil while nobody waits for that
}

// asked counts a file that the receiver wants.
func (p *pace) asked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
}

// sent counts a file that is sent to its end.
func (p *pace) sent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting--; p.waiting <= maxAsked && p.fewer != nil {
		close(p.fewer)
		p.fewer = nil
	}
}

// wait returns when the walk may go on, or with ctx's error.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	if p.waiting <= maxAsked {
		p.mu.Unlock()
		return nil
	}
	if p.fewer == nil {
		p.fewer = make(chan struct{})
	}
	fewer := p.fewer
	p.mu.Unlock()
	select {
	case <-fewer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type paceKey struct{}

// paceOf is the pace of the transfer that a walk belongs to; nil when it belongs to none.
func paceOf(ctx context.Context) *pace {
	p, _ := ctx.Value(paceKey{}).(*pace)
	return p
}

// pacedStream is a transfer of a folder, see fsutil's receive.go for the protocol. The walk finds the pace in the stream's
// context.
type pacedStream struct {
	grpc.ServerStream
	pace *pace
	ctx  context.Context //nolint:containedctx // the stream's own, which grpc keeps in it
}

// paced is an interceptor for the session of a build: it follows the transfers of folders.
func paced(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if info.FullMethod != filesync.FileSync_DiffCopy_FullMethodName {
		return handler(srv, stream)
	}
	p := &pace{}
	return handler(srv, &pacedStream{stream, p, context.WithValue(stream.Context(), paceKey{}, p)})
}

func (s *pacedStream) Context() context.Context { return s.ctx }

func (s *pacedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if packet, ok := m.(*types.Packet); ok && err == nil && packet.Type == types.PACKET_REQ {
		s.pace.asked()
	}
	return err
}

func (s *pacedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if packet, ok := m.(*types.Packet); ok && packet.Type == types.PACKET_DATA && len(packet.Data) == 0 {
		s.pace.sent()
	}
	return err
}
