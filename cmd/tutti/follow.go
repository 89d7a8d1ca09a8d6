package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"tutti/scheduler/api"
)

// follower brings log frames on ch, which is closed at their end; err is valid then.
type follower struct {
	ch      chan api.LogFrame
	done    sync.WaitGroup
	err     error
	cursors map[string]*cursor // by container
	again   bool               // the stream has been opened again: what comes may have come before
}

// cursor is how far a container's log has been passed on. Lines may have the same time, so they are counted.
type cursor struct {
	at    time.Time
	n     int // lines of that time passed on
	since int // lines of that time that have come since the stream was opened
}

// wait returns when the follower has ended, which it does when its context does.
func (f *follower) wait() {
	for range f.ch { //nolint:revive // what nobody wants any more
	}
	f.done.Wait()
}

// fresh says whether a frame has not been passed on yet.
func (f *follower) fresh(frame api.LogFrame) bool {
	if frame.Event != "" {
		return true
	}
	c := f.cursors[frame.Container]
	switch {
	case c == nil:
		f.cursors[frame.Container] = &cursor{frame.Time, 1, 1}
		return true
	case frame.Time.After(c.at):
		*c = cursor{frame.Time, 1, 1}
		return true
	case frame.Time.Before(c.at):
		return !f.again
	}
	c.since++
	old := c.since <= c.n
	c.n = max(c.n, c.since)
	return !old
}

// rewind prepares for the stream being opened again, and returns from when on.
func (f *follower) rewind(o api.LogOptions, opened time.Time) api.LogOptions {
	f.again = true
	earliest := opened
	for _, c := range f.cursors {
		c.since = 0
		if c.at.Before(earliest) {
			earliest = c.at
		}
	}
	if o.Tail >= 0 { // the last lines from before are not wanted a second time
		o.Tail, o.Since = -1, earliest
	}
	return o
}

// The engine is back this soon after it died (its keeper starts it again at once), or it is not coming back.
const (
	engineBackWithin = 10 * time.Second
	engineBackPoll   = 20 * time.Millisecond
)

// followLogs opens a log stream; when it returns the engine has begun to watch. If the engine dies and is started again
// meanwhile, the stream goes on where it broke off.
func followLogs(ctx context.Context, c *api.Client, name string, o api.LogOptions) (*follower, error) {
	r, err := c.OpenLogs(ctx, name, o)
	if err != nil {
		return nil, err
	}
	f := &follower{ch: make(chan api.LogFrame, 64), cursors: map[string]*cursor{}}
	f.done.Go(func() {
		defer close(f.ch)
		f.err = f.run(ctx, c, name, o, r)
	})
	return f, nil
}

func (f *follower) run(ctx context.Context, c *api.Client, name string, o api.LogOptions, r *api.LogReader) error {
	opened := time.Now()
	for {
		err := f.copy(ctx, r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !o.Follow:
			return err
		}
		o = f.rewind(o, opened)
		if r, err = reopen(ctx, c, name, o); err != nil {
			return err
		}
	}
}

// copy passes frames on until the stream ends.
func (f *follower) copy(ctx context.Context, r *api.LogReader) error {
	defer r.Close()
	for {
		frame, err := r.Next()
		if err != nil {
			return err
		}
		if !f.fresh(frame) {
			continue
		}
		select {
		case f.ch <- frame:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reopen opens the stream again as soon as the engine is back.
func reopen(ctx context.Context, c *api.Client, name string, o api.LogOptions) (*api.LogReader, error) {
	if err := awaitEngine(ctx, c); err != nil {
		return nil, err
	}
	return c.OpenLogs(ctx, name, o)
}

// awaitEngine asks until the engine answers.
func awaitEngine(ctx context.Context, c *api.Client) error {
	within, cancel := context.WithTimeout(ctx, engineBackWithin)
	defer cancel()
	tick := time.NewTicker(engineBackPoll)
	defer tick.Stop()
	for {
		err := c.Ping(within)
		if err == nil {
			return nil
		}
		select {
		case <-within.Done():
			return fmt.Errorf("the engine went away and did not come back: %w", err)
		case <-tick.C:
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
