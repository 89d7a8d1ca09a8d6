package build

import (
	"context"

	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// maxWireError bounds an error on the connection between BuildKit's client and
	// controller. It travels in a header, and one that is too large ends the connection,
	// and with it all other builds. An error's details have the whole Dockerfile.
	maxWireError = 1 << 20
	// maxMessage is what is left of the message of such an error.
	maxMessage = 8 << 10
)

// fitError takes the details from an error that is too large, and the end of its text.
func fitError(err error) error {
	if err == nil {
		return nil
	}
	s, _ := status.FromError(err)
	if proto.Size(s.Proto()) <= maxWireError {
		return err
	}
	text := s.Message()
	if len(text) > maxMessage {
		text = text[:maxMessage] + "..."
	}
	return status.Error(s.Code(), text)
}

// serverOptions make errors keep their details on their way to the client, as far as they fit.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			answer, err := grpcerrors.UnaryServerInterceptor(ctx, req, info, handler)
			return answer, fitError(err)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return fitError(grpcerrors.StreamServerInterceptor(srv, stream, info, handler))
		}),
		grpc.WaitForHandlers(true), // what a solve has mounted it unmounts before it returns
	}
}
