package build

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
)

// What the controller is told of a session, see BuildKit's session/session.go.
const (
	headerSession   = "X-Docker-Expose-Session-Uuid"
	headerSharedKey = "X-Docker-Expose-Session-Sharedkey"
	headerMethod    = "X-Docker-Expose-Session-Grpc-Method"
)

// isSimple tells whether a build asks its client's side for nothing but folders and the providers of solve.
func isSimple(solve *client.SolveOpt) bool {
	local := func(c client.CacheOptionsEntry) bool { return c.Type == "local" }
	takes := func(e client.ExportEntry) bool { return e.Output != nil || e.OutputDir != "" || e.OutputStore != nil }
	return len(solve.OCIStores) == 0 && !slices.ContainsFunc(solve.CacheImports, local) && !slices.ContainsFunc(solve.CacheExports, local) &&
		!slices.ContainsFunc(solve.Exports, takes)
}

// openSession opens a session for a simple build, instead of the one that BuildKit's client would open. That one also looks
// at files which a .dockerignore leaves out; and it is served as HTTP, which keeps 16 KiB for each small message that waits:
// hundreds of megabytes while the controller asks for the files of a large folder.
func (c *connection) openSession(ctx context.Context, solve *client.SolveOpt) (end func(), err error) {
	s, err := session.NewSession(ctx, solve.SharedKey) // for its ID
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	server := grpc.NewServer(append(serverOptions(), grpc.ChainStreamInterceptor(paced))...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	filesync.NewFSSyncProvider(filesync.StaticDirSource(solve.LocalMounts)).Register(server)
	for _, a := range solve.Session {
		a.Register(server)
	}
	about := map[string][]string{headerSession: {s.ID()}, headerSharedKey: {solve.SharedKey}}
	for name, service := range server.GetServiceInfo() {
		for _, m := range service.Methods {
			about[headerMethod] = append(about[headerMethod], session.MethodURL(name, m.Name))
		}
	}
	pipe := bufconn.Listen(pipeSize)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(pipe) }) // ends with Stop
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	conn, err := pipe.DialContext(ctx)
	if err != nil {
		server.Stop()
		running.Wait()
		cancel()
		return nil, fmt.Errorf("open session: %w", err)
	}
	running.Go(func() { _ = c.sessions.HandleConn(ctx, conn, about) }) // ends with ctx
	solve.SharedSession, solve.SessionPreInitialized = s, true
	return func() {
		cancel()
		server.Stop()
		_ = conn.Close()
		running.Wait()
	}, nil
}
