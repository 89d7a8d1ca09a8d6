// Package logview prints the log lines of a project's containers, each under the name of its container, as docker compose
// does it in `up` and `logs`.
package logview

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"tutti/scheduler/api"
)

// Options describe a Printer.
type Options struct {
	Project    string
	Out        io.Writer
	Err        io.Writer // lines that containers wrote to stderr; docker compose separates them in `up` only
	Color      bool      // a colour for each container
	Erase      bool      // the terminal understands "erase line", which status lines begin with
	NoPrefix   bool
	Timestamps bool
}

// maxHeld bounds the bytes of a line that has not ended yet. A longer one is printed in pieces.
const maxHeld = 64 << 10

// WatchMark stands before what the watch says among the lines of containers.
const WatchMark = "⦿ "

const timeFormat = "2006-01-02T15:04:05.000000000Z07:00" // docker's: a fixed number of digits

// rainbow is docker compose's cycle of colours, as SGR parameters.
var rainbow = [...]string{"36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"}

// Printer prints frames. It is not safe for concurrent use.
type Printer struct {
	o     Options
	names map[string]*source
	width int
	next  int // index of the next colour
}

// source is one container.
type source struct {
	name   string
	color  string
	prefix string
	held   map[string]*line // by stream: what came of a line without its end
}

type line struct {
	at   time.Time
	text []byte
}

// New returns a Printer.
func New(o Options) *Printer { return &Printer{o: o, names: map[string]*source{}} }

// Expect tells of containers whose lines may come, so that prefixes are aligned and colours given out from the start.
func (p *Printer) Expect(names ...string) {
	for _, n := range names {
		p.source(n)
	}
}

// Name is what a container is called in prefixes: its name without that of the project, unless the user chose it.
func Name(project, service, container string, number int) string {
	if short := fmt.Sprintf("%s-%d", service, number); container == project+"-"+short {
		return short
	}
	return container
}

// Hook prints a line of a hook in a container, as docker compose marks it.
func (p *Printer) Hook(f api.LogFrame) {
	p.print(p.source(Name(p.o.Project, f.Service, f.Container, f.Number)+" ->"), f.Stream, f.Time, f.Line)
}

// Line prints a log line. What has no newline is held until its end comes, the container exits, or Flush.
func (p *Printer) Line(f api.LogFrame) {
	s := p.source(Name(p.o.Project, f.Service, f.Container, f.Number))
	text := f.Line
	if h := s.held[f.Stream]; h != nil {
		h.text = append(h.text, text...)
		if !ends(text) && len(h.text) < maxHeld {
			return
		}
		delete(s.held, f.Stream)
		p.print(s, f.Stream, h.at, h.text)
		return
	}
	if !ends(text) && len(text) < maxHeld {
		s.held[f.Stream] = &line{at: f.Time, text: bytes.Clone(text)}
		return
	}
	p.print(s, f.Stream, f.Time, text)
}

func ends(text []byte) bool { return bytes.HasSuffix(text, []byte{'\n'}) }

// Exit prints that a container has exited, after whatever its last line was.
func (p *Printer) Exit(f api.LogFrame) {
	s := p.source(Name(p.o.Project, f.Service, f.Container, f.Number))
	p.flush(s)
	msg := fmt.Sprintf("%s exited with code %d", s.name, f.ExitCode)
	switch {
	case f.Restart && f.Why != "":
		msg += " (restarting: " + f.Why + ")"
	case f.Restart:
		msg += " (restarting)"
	}
	erase := ""
	if p.o.Erase {
		erase = "\r\x1b[K"
	}
	fmt.Fprint(p.o.Out, paint(s.color, erase+msg+"\n"))
}

// Flush prints the unterminated last lines of all containers.
func (p *Printer) Flush() {
	for _, s := range p.names {
		p.flush(s)
	}
}

func (p *Printer) flush(s *source) {
	for _, stream := range []string{"stdout", "stderr", ""} {
		if h := s.held[stream]; h != nil {
			delete(s.held, stream)
			p.print(s, stream, h.at, h.text)
		}
	}
}

func (p *Printer) print(s *source, stream string, at time.Time, text []byte) {
	out := p.o.Out
	if stream == "stderr" {
		out = p.o.Err
	}
	var b bytes.Buffer
	for l := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\n'}) {
		b.WriteString(s.prefix)
		if p.o.Timestamps {
			b.WriteString(at.UTC().Format(timeFormat))
			b.WriteByte(' ')
		}
		b.Write(l)
		b.WriteByte('\n')
	}
	out.Write(b.Bytes()) //nolint:errcheck // a reader that is gone has seen enough
}

// source finds or registers a container; a longer name widens the prefixes of all.
func (p *Printer) source(name string) *source {
	if s := p.names[name]; s != nil {
		return s
	}
	s := &source{name: name, held: map[string]*line{}}
	if p.o.Color {
		s.color = rainbow[p.next%len(rainbow)]
		p.next++
	}
	p.names[name] = s
	if p.o.NoPrefix {
		return s
	}
	if len(name) >= p.width {
		p.width = len(name) + 1
		for _, other := range p.names {
			p.setPrefix(other)
		}
		return s
	}
	p.setPrefix(s)
	return s
}

func (p *Printer) setPrefix(s *source) {
	s.prefix = paint(s.color, s.name+strings.Repeat(" ", p.width-len(s.name))+" | ")
}

func paint(color, text string) string {
	if color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}
