package build

import (
	"context"
	"sync"

	"github.com/moby/buildkit/client"
)

// outputTail bounds what is kept of each step's output for an error message.
const outputTail = 4 << 10

// progress passes the solver's events on and remembers the end of what each step
// printed, for the error message.
type progress struct {
	events chan *client.SolveStatus // closed by the solver
	done   sync.WaitGroup
	output map[string][]byte // by the step's digest
	names  map[string]string
}

// follow starts to pass events on to status, which may be nil, and closes it at the end.
func follow(ctx context.Context, status chan<- *client.SolveStatus) *progress {
	p := &progress{events: make(chan *client.SolveStatus), output: map[string][]byte{}, names: map[string]string{}}
	p.done.Go(func() {
		if status != nil {
			defer close(status)
		}
		for event := range p.events {
			p.remember(event)
			if status == nil {
				continue
			}
			select {
			case status <- event:
			case <-ctx.Done():
			}
		}
	})
	return p
}

func (p *progress) wait() { p.done.Wait() }

func (p *progress) remember(event *client.SolveStatus) {
	for _, v := range event.Vertexes {
		p.names[v.Digest.String()] = v.Name
		if v.Completed != nil && v.Error == "" {
			delete(p.output, v.Digest.String())
		}
	}
	for _, l := range event.Logs {
		key := l.Vertex.String()
		text := append(p.output[key], l.Data...)
		if len(text) > outputTail {
			text = append([]byte(nil), text[len(text)-outputTail:]...)
		}
		p.output[key] = text
	}
}

// explain turns the solver's error into an *Error with the failing step's output.
// After a cancellation that is the reason.
func (p *progress) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	step := failedStep(err)
	output := string(p.output[step])
	if output != "" {
		output = " > " + p.names[step] + ":\n" + output
	}
	return newError(err, output)
}
