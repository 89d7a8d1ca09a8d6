// Package ship sends what a container logs on to the host's journal or to a syslog server, as Docker's logging drivers
// journald and syslog do. The log file remains: `logs` reads it, and a server that is away or slow delays nobody. Where a
// shipper is in the log is remembered on disk, so that the next engine goes on there: after a crash the last batch of
// lines may come twice, but none is lost while the log file has it.
package ship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"tutti/runtime/logs"
)

// Docker cuts longer lines into messages of this size, in bytes; so do we, for servers have their limits.
const maxMessage = 16 << 10

// Back-off between attempts to reach a server.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 10 * time.Second
)

// Target says where a log goes. Driver is journald or syslog; Options are those of Docker's driver of that name.
type Target struct {
	Driver   string
	Options  map[string]string
	Tag      string            // rendered, see Tag
	Fields   map[string]string // of each journal entry, beside the message: NAME=value
	Hostname string            // in syslog messages
}

// sink takes messages. It is used by one goroutine.
type sink interface {
	send(m message) error
	close() error
}

// message is a line without its newline, or a part of it.
type message struct {
	at      time.Time
	stderr  bool
	text    []byte
	partial bool // the line goes on in the next message
}

func (t Target) open(ctx context.Context) (sink, error) {
	switch t.Driver {
	case "journald":
		return openJournal(t)
	case "syslog":
		return openSyslog(ctx, t)
	}
	return nil, fmt.Errorf("logging driver %q sends nothing on", t.Driver)
}

// Check says what is wrong with the options of a driver, without asking the host.
func Check(driver string, options map[string]string) error {
	for name := range options {
		switch name {
		case "labels", "labels-regex", "env", "env-regex", "tag":
			continue
		}
		if driver != "syslog" || !syslogOption(name) {
			return fmt.Errorf("unknown log opt '%s' for %s log driver", name, driver)
		}
	}
	if driver == "syslog" {
		_, err := parseSyslog(options)
		return err
	}
	return nil
}

// Probe says whether the target can be reached now.
func (t Target) Probe(ctx context.Context) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	return s.close()
}

// Shipper takes one log to its target.
type Shipper struct {
	Target   Target
	Log      *logs.File
	Position string // path of the file that remembers how far it is
	Logger   *slog.Logger
}

// Run sends what the log has beyond the position and, with follow, what comes, until the log is finished or ctx is done.
// While the target is away it tries again. Without follow it gives up at the first failure.
func (s *Shipper) Run(ctx context.Context, follow bool) error {
	p, err := openPosition(s.Position)
	if err != nil {
		return fmt.Errorf("ship the log: %w", err)
	}
	defer p.close()
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		before := p.at
		err := s.attempt(ctx, p, follow)
		if err == nil || ctx.Err() != nil || !follow {
			return err
		}
		if p.at.After(before) {
			delay = firstDelay
		}
		s.Logger.Warn("ship the log: trying again", "driver", s.Target.Driver, "after", delay, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

// attempt ships until something fails.
func (s *Shipper) attempt(ctx context.Context, p *position, follow bool) (err error) {
	to, err := s.Target.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	o := logs.ReadOptions{Tail: -1, Follow: follow, CaughtUp: p.save}
	switch {
	case p.sent > 0:
		o.Since = p.at
	case !p.at.IsZero():
		o.Since = p.at.Add(1)
	}
	skip, sent := p.sent, p.sent
	var failed error
	err = s.Log.Read(ctx, o, func(e logs.Entry) error {
		// All records of a batch have one time: it is done when the next one begins.
		if e.Time.After(p.next) {
			if failed = p.save(); failed != nil {
				return failed
			}
			p.next, sent, skip = e.Time, 0, 0
		} else if skip > 0 {
			skip--
			return nil
		}
		sent++
		failed = sendLine(to, e)
		return failed
	})
	switch {
	case err == nil:
		return p.save()
	case ctx.Err() != nil && failed == nil: // in the middle of a batch, of which the next one sends the rest
		return errors.Join(err, p.part(sent))
	}
	p.next = p.at
	return err
}

func sendLine(to sink, e logs.Entry) error {
	line := e.Line
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	for {
		m := message{at: e.Time, stderr: e.Stream == logs.Stderr, text: line[:min(len(line), maxMessage)]}
		line = line[len(m.text):]
		m.partial = len(line) > 0
		if err := to.send(m); err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
	}
}

// position is the time of the last line that has been sent, on disk.
type position struct {
	file     *os.File
	at, next time.Time
	sent     int  // so many lines of that time have been sent; 0: all
	counts   bool // the file says so
}

// Of one length, so that a write replaces all of it: a time, and where a batch was left in its middle, from then on, a number.
const (
	positionFormat = "2006-01-02T15:04:05.000000000Z07:00"
	sentFormat     = " %010d"
)

func openPosition(path string) (*position, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p := &position{}
	stamp, number, counts := strings.Cut(string(text), " ")
	at, err := time.Parse(positionFormat, stamp)
	if counts && err == nil {
		var n uint64
		n, err = strconv.ParseUint(number, 10, 31)
		p.sent, p.counts = int(n), true //nolint:gosec // of 31 bits
		if len(number) != len(fmt.Sprintf(sentFormat, 0))-1 {
			err = strconv.ErrSyntax
		}
	}
	if err == nil {
		p.at, p.next = at, at
	} else { // torn or new: from the beginning
		p.sent = 0
	}
	p.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	return p, err
}

// save remembers that all lines up to next have been sent.
func (p *position) save() error {
	if !p.next.After(p.at) && p.sent == 0 {
		return nil
	}
	return p.write(0)
}

// part remembers that so many lines of the time next have been sent, and all before.
func (p *position) part(sent int) error {
	if sent == 0 || p.next.Equal(p.at) && (p.sent == 0 || p.sent == sent) {
		return nil // what the file says
	}
	p.counts = true
	return p.write(sent)
}

func (p *position) write(sent int) error {
	text := p.next.UTC().Format(positionFormat)
	if p.counts {
		text += fmt.Sprintf(sentFormat, sent)
	}
	if _, err := p.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("remember what has been sent: %w", err)
	}
	p.at, p.sent = p.next, sent
	return nil
}

func (p *position) close() { p.file.Close() }
