package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tutti/runtime/build/clients"
)

// ClientBuild is a build for a client of the Docker Engine API that has opened a session and leaves the rest to the engine
// (POST /build with version=2).
type ClientBuild struct {
	// Request is what the client has said. Its context is read from the session when Context is empty, and from Stdin, which
	// has to be a tar, when it is "-". Outputs end at the client. Auth, Secrets, SSH and local folders come by the session and
	// are not heeded here.
	Request

	Session string
	UID     uint32 // the user whose session it is
}

// statusGrace bounds the wait for what there is to be said of a build that has failed: perhaps it has never begun.
const statusGrace = 3 * time.Second

// BuildFor builds for a client, and tells of it with the messages that BuildKit's clients know. It returns the image's ID,
// empty when none is stored.
func (b *Builder) BuildFor(ctx context.Context, c ClientBuild, tell func(*controlapi.StatusResponse) error) (id string, err error) {
	q, end, err := b.clientRequest(c)
	if err != nil {
		return "", err
	}
	defer end()
	conn, err := grpc.NewClient("passthrough:///builder", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return b.clients.Dial(ctx, c.UID) }),
		grpc.WithUnaryInterceptor(grpcerrors.UnaryClientInterceptor))
	if err != nil {
		return "", fmt.Errorf("connect to the builder: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	control := controlapi.NewControlClient(conn)

	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var follow sync.WaitGroup
	var told error
	follow.Go(func() { told = relay(following, control, q.Ref, tell) })
	answer, err := control.Solve(ctx, q)
	if err != nil {
		timer := time.AfterFunc(statusGrace, stop)
		follow.Wait()
		timer.Stop()
		return "", explainTo(ctx, err)
	}
	follow.Wait()
	return answer.ExporterResponse[exptypes.ExporterImageConfigDigestKey], told
}

// relay passes on what a build says until it has ended.
func relay(ctx context.Context, control controlapi.ControlClient, ref string, tell func(*controlapi.StatusResponse) error) error {
	stream, err := control.Status(ctx, &controlapi.StatusRequest{Ref: ref})
	if err != nil {
		return fmt.Errorf("follow the build: %w", err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow the build: %w", err)
		}
		if err := tell(m); err != nil {
			return err
		}
	}
}

// explainTo is an error as a client shows it, with the Dockerfile's lines.
func explainTo(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var text strings.Builder
	for _, source := range errdefs.Sources(err) {
		if source.Print(&text) != nil {
			break // a strings.Builder does not fail
		}
	}
	return fmt.Errorf("%sfailed to solve: %w", text.String(), err)
}

// clientRequest translates a request; end is to be called after the build.
func (b *Builder) clientRequest(c ClientBuild) (q *controlapi.SolveRequest, end func(), err error) {
	if err := checkRequest(c.Request); err != nil {
		return nil, nil, err
	}
	q = &controlapi.SolveRequest{
		Ref: identity.NewID(), Frontend: "dockerfile.v0", FrontendAttrs: map[string]string{}, Session: c.Session,
		Cache: &controlapi.CacheOptions{}, Entitlements: entitled(c.Request),
	}
	setAttributes(q.FrontendAttrs, c.Request)
	if c.Dockerfile != "" {
		q.FrontendAttrs["filename"] = c.Dockerfile
	}
	imports, err := parseCache(c.CacheFrom)
	if err != nil {
		return nil, nil, fmt.Errorf("cache from: %w", err)
	}
	for _, i := range imports {
		q.Cache.Imports = append(q.Cache.Imports, &controlapi.CacheOptionsEntry{Type: i.Type, Attrs: i.Attrs})
	}
	if inline, err := strconv.ParseBool(c.Args[inlineCacheArg]); err == nil && inline {
		q.Cache.Exports = append(q.Cache.Exports, &controlapi.CacheOptionsEntry{Type: "inline", Attrs: map[string]string{}})
	}
	q.Exporters = clientOutputs(c)
	end = func() {}
	switch c.Context {
	case "":
	case "-":
		q.FrontendAttrs["context"], end = b.bodies.add(c.Stdin)
	default:
		q.FrontendAttrs["context"] = c.Context
	}
	return q, end, nil
}

// clientOutputs are the image store, or what the client asks for, with the tags.
func clientOutputs(c ClientBuild) []*controlapi.Exporter {
	outputs := c.Outputs
	if len(outputs) == 0 {
		outputs = []Output{{Type: clients.ExporterMoby}}
	}
	var list []*controlapi.Exporter
	for _, o := range outputs {
		if o.Type == "cacheonly" {
			continue
		}
		e := &controlapi.Exporter{Type: o.Type, Attrs: map[string]string{}}
		maps.Copy(e.Attrs, o.Attrs)
		if len(c.Tags) > 0 && e.Attrs["name"] == "" {
			switch o.Type {
			case clients.ExporterMoby, "image", "docker", "oci":
				e.Attrs["name"] = strings.Join(c.Tags, ",")
			}
		}
		list = append(list, e)
	}
	return list
}
