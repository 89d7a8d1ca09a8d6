package engine

import (
	"context"
	"io"
	"sync"

	"github.com/moby/buildkit/client"

	"tutti/runtime/build"
	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/imagebuild"
)

// BuildImage builds what docker build would: not a service, but what the request says. stdin is the context "-".
func (e *Engine) BuildImage(ctx context.Context, q api.ImageBuildRequest, stdin io.Reader, emit func(api.Event)) error {
	var mu sync.Mutex
	send := func(ev api.Event) {
		mu.Lock()
		defer mu.Unlock()
		emit(ev)
	}
	u, err := imagebuild.NewUser(q.Client)
	if err != nil {
		return err
	}
	r := imagebuild.Direct(q, u, stdin, outputEvents(send))
	if q.Check {
		found, err := e.Builder.Check(ctx, r)
		if err == nil {
			send(CheckEvent("", found))
		}
		return err
	}
	result, err := e.Builder.Build(ctx, r, func(s *client.SolveStatus) { send(api.Event{Kind: api.KindBuild, Build: s}) })
	if err != nil {
		return err
	}
	send(api.Event{Kind: api.KindBuilt, Name: result.ID, Metadata: result.Metadata})
	return nil
}

// BuildClassic builds for a client of docker's old builder: the request is that of imagebuild.Classic.
func (e *Engine) BuildClassic(ctx context.Context, q build.Request, show func(*client.SolveStatus)) (image.Image, error) {
	result, err := e.Builder.Build(ctx, q, show)
	return result.Image, err
}

// outputEvents writes into events.
type outputEvents func(api.Event)

func (o outputEvents) Write(p []byte) (int, error) {
	o(api.Event{Kind: api.KindOutput, Data: p})
	return len(p), nil
}

// CheckEvent tells what a check has found; an error of the Dockerfile counts as a thing, too.
func CheckEvent(name string, f build.Findings) api.Event {
	e := api.Event{Kind: api.KindCheck, Name: name, Text: f.Text, Changes: f.Warnings}
	if f.Failed {
		e.Changes++
	}
	return e
}
