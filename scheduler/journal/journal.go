// Package journal keeps what has happened to containers, networks and volumes, in the form of the Docker Engine API's
// events. It is a file of JSON lines that is bounded: when it is full, it becomes the older half and a new one is begun.
// Whoever listens gets what happens from a moment on without a gap.
package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
)

const (
	// halfSize is the size in bytes at which a new half is begun: the journal holds the last few thousand events.
	halfSize = 1 << 20
	// maxBehind is how many events a listener may be behind before it is dropped.
	maxBehind = 16 << 10
	// drift is how far back a clock may step and still have the order of events kept by their times.
	drift = time.Second
)

// ErrTooSlow ends a listener that did not take its events.
var ErrTooSlow = errors.New("the reader of events is too slow")

// Journal is the file and those who listen. It is safe for concurrent use.
type Journal struct {
	path string
	half int64 // size at which the file is full

	mu        sync.Mutex
	file      *os.File // nil when it could not be opened: then nothing is kept
	size      int64
	last      time.Time
	listeners map[*listener]struct{}
}

// Open opens the journal at path, or begins it. After an error the journal works, but keeps nothing.
func Open(path string) (*Journal, error) {
	j := &Journal{path: path, half: halfSize, listeners: map[*listener]struct{}{}}
	return j, j.open()
}

func (j *Journal) older() string { return j.path + ".1" }

// open opens the file for appending, and ends a line that a crash has cut off.
func (j *Journal) open() error {
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		var end [1]byte
		if _, err = f.ReadAt(end[:], info.Size()-1); err == nil && end[0] != '\n' {
			_, err = f.WriteString("\n")
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the journal: %w", err), f.Close())
	}
	j.file, j.size = f, info.Size()
	return nil
}

// Append notes an event under the present time, which is later than that of every event before, and tells those who
// listen. They are told also when the disk cannot take it, which is the error.
func (j *Journal) Append(m events.Message) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if !now.After(j.last) && j.last.Sub(now) < drift {
		now = j.last.Add(1)
	}
	j.last = now
	m.Scope, m.Time, m.TimeNano = "local", now.Unix(), now.UnixNano()
	for l := range j.listeners {
		l.add(m)
	}
	return j.write(m)
}

func (j *Journal) write(m events.Message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if j.file != nil && j.size >= j.half {
		if err := os.Rename(j.path, j.older()); err != nil {
			return fmt.Errorf("begin a new journal: %w", err)
		}
		_ = j.file.Close() // everything in it is written
		j.file = nil
	}
	if j.file == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	n, err := j.file.Write(append(line, '\n'))
	j.size += int64(n)
	if err != nil {
		if n > 0 { // half a line must not spoil the next one
			_ = j.file.Truncate(j.size - int64(n))
			j.size -= int64(n)
		}
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// Close closes the file and ends those who listen.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for l := range j.listeners {
		l.end(io.EOF)
	}
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// Options choose events by time.
type Options struct {
	Since time.Time // not older; zero: only what happens from now on
	Until time.Time // not younger; zero: go on until the context is done
}

// Read hands events to emit: those kept since o.Since, then those that come, until o.Until has passed or ctx is done.
// ready is called once nothing that happens from then on can be missed.
func (j *Journal) Read(ctx context.Context, o Options, ready func(), emit func(events.Message) error) error {
	l := &listener{wake: make(chan struct{}, 1)}
	j.mu.Lock()
	past, err := j.snapshot(o.Since)
	j.listeners[l] = struct{}{}
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.listeners, l)
	}()
	if err != nil {
		return err
	}
	ready()
	within := func(m events.Message) bool {
		at := time.Unix(0, m.TimeNano)
		return !at.Before(o.Since) && (o.Until.IsZero() || !at.After(o.Until))
	}
	if err := past.read(within, emit); err != nil {
		return err
	}
	if !o.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, o.Until)
		defer cancel()
	}
	for {
		list, err := l.take()
		for _, m := range list {
			if within(m) {
				if err := emit(m); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
	}
}

// past is the text of the journal's files as they were at one moment.
type past [][]byte

// snapshot opens what has been kept, when since asks for it. The caller holds mu.
func (j *Journal) snapshot(since time.Time) (past, error) {
	if since.IsZero() {
		return nil, nil
	}
	var p past
	for _, path := range []string{j.older(), j.path} {
		b, err := os.ReadFile(path) // bounded by half
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		p = append(p, b)
	}
	return p, nil
}

// read hands over the events that are wanted. A line that cannot be read was cut off by a crash.
func (p past) read(wanted func(events.Message) bool, emit func(events.Message) error) error {
	for _, part := range p {
		for line := range bytes.Lines(part) {
			var m events.Message
			if json.Unmarshal(line, &m) != nil || !wanted(m) {
				continue
			}
			if err := emit(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// listener is the queue of one Read.
type listener struct {
	mu    sync.Mutex
	queue []events.Message
	err   error
	wake  chan struct{} // holds a token when there is something to take
}

func (l *listener) add(m events.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if len(l.queue) >= maxBehind {
		l.queue, l.err = nil, ErrTooSlow
	} else {
		l.queue = append(l.queue, m)
	}
	l.signal()
}

func (l *listener) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.signal()
}

func (l *listener) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listener) take() ([]events.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queue
	l.queue = nil
	return q, l.err
}
