package progress

import (
	"context"
	"os"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	digest "github.com/opencontainers/go-digest"
)

// builds shows the progress of all images that are being built at one time in one of BuildKit's displays, each step
// marked with its image as `buildx bake` does it.
type builds struct {
	ctx    context.Context //nolint:containedctx // the display's life, which is that of the verb
	out    *lockedWriter
	mode   progressui.DisplayMode
	active map[string]bool // images whose build has not ended
	ch     chan *client.SolveStatus
	wait   sync.WaitGroup
}

func newBuilds(ctx context.Context, out *lockedWriter, o Options) *builds {
	b := &builds{ctx: ctx, out: out, active: map[string]bool{}}
	switch o.Mode {
	case TTY:
		b.mode = progressui.AutoMode
	case JSON, RawJSON:
		b.mode = progressui.RawJSONMode
	case Quiet:
		b.mode = progressui.QuietMode
	case Plain, Auto:
		b.mode = progressui.PlainMode
	}
	return b
}

// idle says that no build is on the screen.
func (b *builds) idle() bool { return b.ch == nil }

// update shows a step of the build of image; the first opens the display.
func (b *builds) update(image string, s *client.SolveStatus) {
	if b.idle() && !b.open() {
		return
	}
	b.active[image] = true
	select {
	case b.ch <- mark(image, s):
	case <-b.ctx.Done():
	}
}

func (b *builds) open() bool {
	display, err := progressui.NewDisplay(b.target(), b.mode)
	if err != nil { // only an unknown mode is an error
		return false
	}
	b.ch = make(chan *client.SolveStatus)
	b.wait.Add(1)
	go func(ch chan *client.SolveStatus) {
		defer b.wait.Done()
		display.UpdateFrom(b.ctx, ch) //nolint:errcheck // its only error is that the verb was cancelled
	}(b.ch)
	return true
}

// target is the terminal itself where there is one: BuildKit's display asks it for its size.
func (b *builds) target() interface{ Write([]byte) (int, error) } {
	if f, ok := b.out.w.(*os.File); ok && b.mode == progressui.AutoMode {
		return f
	}
	return b.out
}

// finish notes that an image is built or has failed. It reports whether that was the last one: the display is closed then.
func (b *builds) finish(image string) bool {
	if b.idle() || !b.active[image] {
		return false
	}
	delete(b.active, image)
	return len(b.active) == 0 && b.stop()
}

// stop closes the display if it is open, and reports whether it was.
func (b *builds) stop() bool {
	if b.idle() {
		return false
	}
	close(b.ch)
	b.wait.Wait()
	b.ch = nil
	clear(b.active)
	return true
}

// mark returns s with its steps named after the image. Steps that two builds share have one digest, so the digests are
// made the image's own too, or the display would take them for one step.
func mark(image string, s *client.SolveStatus) *client.SolveStatus {
	own := func(d digest.Digest) digest.Digest { return digest.FromString(image + "\x00" + string(d)) }
	out := &client.SolveStatus{}
	for _, v := range s.Vertexes {
		c := *v
		c.Digest, c.Name = own(v.Digest), markName(image, v.Name)
		c.Inputs = make([]digest.Digest, len(v.Inputs))
		for i, in := range v.Inputs {
			c.Inputs[i] = own(in)
		}
		out.Vertexes = append(out.Vertexes, &c)
	}
	for _, v := range s.Statuses {
		c := *v
		c.Vertex = own(v.Vertex)
		out.Statuses = append(out.Statuses, &c)
	}
	for _, v := range s.Logs {
		c := *v
		c.Vertex = own(v.Vertex)
		out.Logs = append(out.Logs, &c)
	}
	for _, v := range s.Warnings {
		c := *v
		c.Vertex = own(v.Vertex)
		out.Warnings = append(out.Warnings, &c)
	}
	return out
}

// markName turns "[internal] load .dockerignore" into "[web internal] load .dockerignore".
func markName(image, name string) string {
	if image == "" { // of no service
		return name
	}
	if rest, ok := strings.CutPrefix(name, "["); ok {
		return "[" + image + " " + rest
	}
	return "[" + image + "] " + name
}
