package builder

import (
	"context"
	"net"
	"net/http"

	controlapi "github.com/moby/buildkit/api/services/control"

	"tutti/runtime/build"
)

// ServeControl serves POST /grpc of the Docker Engine API, BuildKit's own protocol, see build.Builder.
func (b *Builder) ServeControl(ctx context.Context, uid uint32, take func() (net.Conn, error)) error {
	opened, err := b.Open()
	if err != nil {
		return err
	}
	defer b.use()()
	return opened.ServeControl(ctx, uid, take)
}

// ServeSession serves POST /session, what a client offers to its builds, see build.Builder.
func (b *Builder) ServeSession(ctx context.Context, header http.Header, uid uint32, take func() (net.Conn, error)) error {
	opened, err := b.Open()
	if err != nil {
		return err
	}
	defer b.use()()
	return opened.ServeSession(ctx, header, uid, take)
}

// BuildFor serves POST /build with version=2, see build.Builder.
func (b *Builder) BuildFor(ctx context.Context, c build.ClientBuild, tell func(*controlapi.StatusResponse) error) (id string, err error) {
	opened, err := b.Open()
	if err != nil {
		return "", err
	}
	defer b.use()()
	return opened.BuildFor(ctx, c, tell)
}
