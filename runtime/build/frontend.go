package build

import (
	"context"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/worker"
)

// stockSyntax are the repositories of the frontend that is embedded here.
var stockSyntax = []string{"docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream"}

// frontends are the Dockerfile frontend and, under the name by which it calls
// another one for a "# syntax=" line, itself again. What they ask for is entered with builds.
func frontends(workers *worker.Controller, builds *inputsBySession) map[string]frontend.Frontend {
	embedded := watched{forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build), builds}
	return map[string]frontend.Frontend{
		"dockerfile.v0": embedded,
		"gateway.v0":    syntaxGate{embedded},
	}
}

// syntaxGate serves "# syntax=docker/dockerfile:*" with the embedded frontend, so
// that no build depends on a registry for its parser. Other frontends are programs
// in images, which are refused.
type syntaxGate struct{ embedded frontend.Frontend }

func (g syntaxGate) Solve(ctx context.Context, bridge frontend.FrontendLLBBridge, exec executor.Executor, opt map[string]string, inputs map[string]*pb.Definition, sid string, sm *session.Manager) (*frontend.Result, error) {
	source := opt[frontend.KeySource]
	named, err := reference.ParseNormalizedNamed(source)
	if err != nil {
		return nil, fmt.Errorf("syntax image %q: %w", source, err)
	}
	if !slices.Contains(stockSyntax, reference.TrimNamed(named).Name()) {
		return nil, fmt.Errorf("syntax image %q is not supported: only docker/dockerfile, which is built in", source)
	}
	return g.embedded.Solve(ctx, bridge, exec, opt, inputs, sid, sm)
}
