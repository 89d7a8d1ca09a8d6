package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/solver/pb"
)

// ErrNothingToCheck is returned by Check when the frontend has no opinion.
var ErrNothingToCheck = errors.New("the build has no checks")

// Findings are what Check has found.
type Findings struct {
	Warnings int
	Failed   bool   // it would not build
	Text     string // as docker shows them, with the Dockerfile's lines
}

// Check lints the request's Dockerfile without building anything (docker build
// --check; the rules are BuildKit's, https://docs.docker.com/reference/build-checks/).
func (b *Builder) Check(ctx context.Context, r Request, status chan<- *client.SolveStatus) (Findings, error) {
	defer b.building()()
	built := r.BuiltContexts
	r.Outputs, r.CacheTo, r.BuiltContexts = []Output{{Type: "cacheonly"}}, nil, nil
	progress := b.follow(ctx, r, status)
	defer progress.close()
	solve, _, err := b.solveOptions(ctx, r)
	end := func() {}
	if err == nil {
		end, err = b.conn.openSession(ctx, &solve)
	}
	if err != nil {
		close(progress.events)
		progress.wait()
		return Findings{}, err
	}
	defer end()
	var findings Findings
	attrs, inputs := solve.FrontendAttrs, solve.FrontendInputs
	solve.Frontend, solve.FrontendAttrs, solve.FrontendInputs = "", nil, nil
	for name := range built { // they need not be there to be named
		attrs["context:"+name] = "docker-image://scratch"
	}
	_, err = b.conn.client.Build(ctx, solve, "tutti", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		request := gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: attrs}
		request.FrontendOpt["requestid"] = lint.SubrequestLintDefinition.Name
		request.FrontendOpt["frontend.caps"] = "moby.buildkit.frontend.subrequests"
		for name, state := range inputs {
			def, err := state.Marshal(ctx)
			if err != nil {
				return nil, err
			}
			if request.FrontendInputs == nil {
				request.FrontendInputs = map[string]*pb.Definition{}
			}
			request.FrontendInputs[name] = def.ToPB()
		}
		res, err := c.Solve(ctx, request)
		if err != nil {
			return nil, err
		}
		findings, err = readFindings(res.Metadata["result.json"])
		return gateway.NewResult(), err
	}, progress.events)
	progress.wait()
	if err != nil {
		return Findings{}, progress.explain(ctx, err)
	}
	return findings, nil
}

func readFindings(data []byte) (Findings, error) {
	if len(data) == 0 {
		return Findings{}, ErrNothingToCheck
	}
	var results lint.LintResults
	if err := json.Unmarshal(data, &results); err != nil {
		return Findings{}, fmt.Errorf("read the checks' results: %w", err)
	}
	var text bytes.Buffer
	f := Findings{Warnings: len(results.Warnings), Failed: results.Error != nil}
	switch {
	case f.Warnings == 1:
		text.WriteString("Check complete, 1 warning has been found!\n")
	case f.Warnings > 1:
		fmt.Fprintf(&text, "Check complete, %d warnings have been found!\n", f.Warnings)
	case !f.Failed:
		text.WriteString("Check complete, no warnings found.\n")
	}
	if err := results.PrintTo(&text, nil); err != nil {
		return f, fmt.Errorf("show the checks' results: %w", err)
	}
	if f.Failed {
		if f.Warnings > 0 {
			text.WriteString("\n")
		}
		results.PrintErrorTo(&text, nil)
	}
	f.Text = strings.TrimLeft(text.String(), "\n")
	return f, nil
}
