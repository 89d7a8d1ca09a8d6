package build

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// outputTail bounds what is kept of each step's output for an error message.
const outputTail = 4 << 10

// progress passes the solver's events on and remembers the end of what each step
// printed, for the error message.
type progress struct {
	events chan *client.SolveStatus // closed by the solver
	done   sync.WaitGroup
	output map[string][]byte // by the step's digest
	steps  map[string]string // their names
	hide   *strings.Replacer // of credentials; nil: there are none
	status chan<- *client.SolveStatus

	shown *transcript // nil: nobody wants it

	dangling string   // begins the name under which the exporter stores the result
	names    []string // that it gets instead
}

// follow starts to pass events on to status, which may be nil, without the
// credentials that the request has.
func (b *Builder) follow(ctx context.Context, r Request, status chan<- *client.SolveStatus) *progress {
	p := &progress{
		events: make(chan *client.SolveStatus), output: map[string][]byte{}, steps: map[string]string{},
		hide: redactor(r), status: status, dangling: b.backend.DanglingPrefix + "@", names: fullNames(r),
	}
	p.done.Go(func() {
		for event := range p.events {
			event = p.present(event)
			p.remember(event)
			if p.shown != nil {
				p.shown.add(event)
			}
			p.send(ctx, event)
		}
	})
	return p
}

func (p *progress) send(ctx context.Context, event *client.SolveStatus) {
	if p.status == nil {
		return
	}
	select {
	case p.status <- event:
	case <-ctx.Done():
	}
}

// wait returns when all events of the solver are passed on.
func (p *progress) wait() { p.done.Wait() }

// nothing ends the wait for events when the solver is not asked.
func (p *progress) nothing() {
	close(p.events)
	p.wait()
}

// close tells the receiver that there are no more events.
func (p *progress) close() {
	if p.status != nil {
		close(p.status)
	}
}

// step shows something as a step of the build that the solver knows nothing of.
func (p *progress) step(ctx context.Context, name string, do func() error) error {
	began := time.Now()
	shown := client.Vertex{Digest: digest.FromString(name), Name: name, Started: &began}
	first := shown
	p.send(ctx, &client.SolveStatus{Vertexes: []*client.Vertex{&first}})
	err := do()
	ended := time.Now()
	shown.Completed = &ended
	if err != nil {
		shown.Error = err.Error()
	}
	p.send(ctx, &client.SolveStatus{Vertexes: []*client.Vertex{&shown}})
	return err
}

func (p *progress) remember(event *client.SolveStatus) {
	for _, v := range event.Vertexes {
		p.steps[v.Digest.String()] = v.Name
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
		output = " > " + p.steps[step] + ":\n" + output
	}
	return newError(err, output, p.hide)
}
