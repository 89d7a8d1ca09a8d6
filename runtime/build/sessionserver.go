package build

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	sessioncontent "github.com/moby/buildkit/session/content"
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

// openSession opens the session by which the controller asks for what a build takes from here, instead of the one that
// BuildKit's client would open. That one also looks at files which a .dockerignore leaves out; and it is served as HTTP, which
// keeps 16 KiB for each small message that waits: hundreds of megabytes while the controller asks for the files of a large
// folder.
func (c *connection) openSession(ctx context.Context, solve *client.SolveOpt) (end func(), err error) {
	s, err := session.NewSession(ctx, solve.SharedKey) // for its ID
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	targets, err := outputTargets(solve)
	if err != nil {
		return nil, err
	}
	stores, err := contentStores(solve)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(append(serverOptions(), grpc.ChainStreamInterceptor(paced))...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	filesync.NewFSSyncProvider(filesync.StaticDirSource(solve.LocalMounts)).Register(server)
	filesync.NewFSSyncTarget(targets...).Register(server)
	sessioncontent.NewAttachable(stores).Register(server)
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

// outputTargets are the files and folders that results are sent to, by the numbers of their exporters.
func outputTargets(solve *client.SolveOpt) ([]filesync.FSSyncTarget, error) {
	var targets []filesync.FSSyncTarget
	for number, e := range solve.Exports {
		switch {
		case e.Output != nil:
			targets = append(targets, filesync.WithFSSync(number, e.Output))
		case e.OutputDir != "":
			mode, err := client.ParseLocalExporterMode(e.Attrs["mode"])
			if err != nil {
				return nil, fmt.Errorf("output %s: %w", e.OutputDir, err)
			}
			target := filesync.WithFSSyncDir
			if mode == client.LocalExporterModeDelete {
				target = filesync.WithFSSyncDirDelete
			}
			targets = append(targets, target(number, e.OutputDir))
		}
	}
	return targets, nil
}

// contentStores are the image layouts that a build reads, and the local caches that it reads and writes, by the names that
// BuildKit has for them (client/solve.go).
func contentStores(solve *client.SolveOpt) (map[string]content.Store, error) {
	stores := map[string]content.Store{}
	for name, store := range solve.OCIStores {
		stores["oci:"+name] = store
	}
	for folder, caches := range map[string][]client.CacheOptionsEntry{"src": solve.CacheImports, "dest": solve.CacheExports} {
		for _, c := range caches {
			dir := c.Attrs[folder]
			if c.Type != "local" || dir == "" {
				continue // BuildKit's client says what is wrong
			}
			store, err := local.NewStore(dir)
			if err != nil && folder == "src" {
				continue // a cache that cannot be read is none
			}
			if err != nil {
				return nil, fmt.Errorf("local cache %s: %w", dir, err)
			}
			stores["local:"+dir] = store
		}
	}
	return stores, nil
}
