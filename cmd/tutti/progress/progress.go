// Package progress shows what the engine does while it carries out a project verb: a block of rows that is redrawn in
// place on a terminal, one line or one JSON object an event elsewhere, or nothing. The shapes follow docker compose v5.
package progress

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"tutti/scheduler/api"
)

// Mode is how progress is shown.
type Mode string

// The modes of --progress. Auto is resolved with Resolve before a Display is made.
const (
	Auto  Mode = "auto"
	TTY   Mode = "tty"
	Plain Mode = "plain"
	JSON  Mode = "json"
	Quiet Mode = "quiet"
	// RawJSON shows BuildKit's own progress of builds as it is, a status an object, and nothing else.
	RawJSON Mode = "rawjson"
)

// Modes are the values that --progress takes, for its help text.
func Modes() string { return "auto, tty, plain, json, quiet, rawjson" }

// Resolve turns the values of --progress and --ansi ("auto", "always", "never") into a mode to show progress in, given
// whether it is shown on a terminal.
func Resolve(progress, ansi string, terminal bool) (Mode, error) {
	switch Mode(progress) {
	case "", Auto:
		if terminal && ansi != "never" {
			return TTY, nil
		}
		return Plain, nil
	case TTY:
		if ansi == "never" {
			return "", fmt.Errorf("can't use --progress tty while ANSI support is disabled")
		}
		return TTY, nil
	case Plain:
		if ansi == "always" {
			return "", fmt.Errorf("can't use --progress plain while ANSI support is forced")
		}
		return Plain, nil
	case JSON:
		return JSON, nil
	case Quiet, "none":
		return Quiet, nil
	case RawJSON:
		return RawJSON, nil
	}
	return "", fmt.Errorf("unsupported --progress value %q", progress)
}

// Options describe a Display.
type Options struct {
	Out        io.Writer
	Mode       Mode                              // not Auto
	Operation  string                            // the verb, as in "[+] up 3/5"
	Color      bool                              // in TTY mode
	Size       func() (width, height int)        // of the terminal; nil: 80 by 24
	Now        func() time.Time                  // nil: time.Now
	Tick       func() (<-chan time.Time, func()) // when to redraw, and how to stop that; nil: every 100 ms
	QuietPull  bool                              // no bytes of pulls
	QuietBuild bool                              // no output of builds
	OnlyBuilds bool                              // nothing else
}

// Display takes the events of one verb. Its methods may be called from several goroutines. Close must be called.
type Display struct {
	mu     sync.Mutex
	out    *lockedWriter
	view   view
	builds *builds
	opts   Options
}

// view is one way to show resource events; Display serialises the calls.
type view interface {
	resource(api.Event)
	warning(text string)
	// suspend takes everything that would be redrawn off the screen and keeps it off until resume.
	suspend()
	resume()
	close()
}

// New returns a Display; in TTY mode it redraws from a goroutine that Close ends.
func New(ctx context.Context, o Options) *Display {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Size == nil {
		o.Size = func() (int, int) { return 80, 24 }
	}
	d := &Display{out: &lockedWriter{w: o.Out}, opts: o}
	switch {
	case o.OnlyBuilds || o.Mode == Quiet || o.Mode == RawJSON:
		d.view = quiet{}
	case o.Mode == TTY:
		d.view = newTTY(d, o)
	case o.Mode == JSON:
		d.view = &jsonLines{out: d.out, now: o.Now}
	default:
		d.view = &plainLines{out: d.out, seen: map[string]string{}}
	}
	d.builds = newBuilds(ctx, d.out, o)
	return d
}

// Event shows one event. Plans and the end of the stream are not shown: they are the caller's.
func (d *Display) Event(e api.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Kind {
	case api.KindResource:
		if d.opts.QuietPull && e.Resource == "Image" && e.Status == "Pulling" {
			e.Layer, e.Current, e.Total, e.Text = "", 0, 0, ""
		}
		if e.Resource == "Image" && e.Phase != api.PhaseWorking && d.builds.finish(e.Name) {
			d.view.resume()
		}
		d.view.resource(e)
	case api.KindWarning:
		d.view.warning(strings.TrimRight(e.Text, "\n"))
	case api.KindBuild:
		if d.opts.QuietBuild || e.Build == nil {
			return
		}
		if d.builds.idle() {
			d.view.suspend()
		}
		d.builds.update(e.Name, e.Build)
	case api.KindPlan, api.KindEnd, api.KindCheck, api.KindOutput, api.KindBuilt:
	}
}

// Above lets write print lines to the terminal without damage to what is drawn there: they come to stand above it.
func (d *Display) Above(write func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.builds.idle() {
		d.view.suspend()
		defer d.view.resume()
	}
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	write()
}

// Close shows the last state and ends. Closing twice is harmless.
func (d *Display) Close() {
	d.mu.Lock()
	if d.builds.stop() {
		d.view.resume()
	}
	d.mu.Unlock()
	d.view.close() // waits for the redrawing goroutine, which takes the lock
}

// lockedWriter lets BuildKit's display and ours write to one stream, whole writes at a time.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
