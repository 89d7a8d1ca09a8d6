package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// errWentAway says that a stream ended without its last event.
var errWentAway = errors.New("the engine went away")

// repeatable are the verbs that say how all is to be, and the one that asks what that would take: asked for again, they go on where an engine that died had come to.
var repeatable = []string{"up", "plan", "down", "stop", "create", "rm"}

// streamTries bounds how often a verb is asked for when one engine after the other dies.
const streamTries = 3

// Stream posts a project verb ("up", "down" ...) with its request and hands every event to emit until the engine ends the
// stream. The error is the one the verb ended with (an *EndError), or that of the connection. When the engine dies meanwhile, the next one
// is asked to go on if the verb allows that; it tells again what is done already.
func (c *Client) Stream(ctx context.Context, verb string, request any, emit func(Event)) error {
	b, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the %s request: %w", verb, err)
	}
	for try := 1; ; try++ {
		err := c.stream(ctx, verb, b, emit)
		died := errors.Is(err, errWentAway) || err != nil && cutOff(err)
		if !died || ctx.Err() != nil || c.revive == nil || try == streamTries || !slices.Contains(repeatable, verb) {
			return err
		}
	}
}

// stream is Stream with one engine.
func (c *Client) stream(ctx context.Context, verb string, request []byte, emit func(Event)) error {
	r, err := c.do(ctx, http.MethodPost, Prefix+"/"+verb, bytes.NewReader(request))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return readEvents(ctx, verb, json.NewDecoder(bufio.NewReaderSize(r.Body, eventBuffer)), emit)
}

const eventBuffer = 64 << 10

// readEvents hands events to emit until the one that says how the verb ended.
func readEvents(ctx context.Context, verb string, d *json.Decoder, emit func(Event)) error {
	for {
		var e Event
		if err := d.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: %w: %w", verb, errWentAway, err)
		}
		if e.Kind != KindEnd {
			emit(e)
			continue
		}
		if e.Error != "" {
			return &EndError{Message: e.Error, ExitCode: max(e.ExitCode, 1)}
		}
		emit(e)
		return nil
	}
}
