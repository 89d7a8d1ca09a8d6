// Package treewatch watches trees of files of this host, told by inotify(7) through fsnotify, and passes changes on in batches.
// Nothing that happens is missed: a folder is watched before it is read, whatever is found in a new one counts as changed, and
// when the kernel's queue has overflowed the trees are compared with what was known of them. Symbolic links are not followed.
package treewatch

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Selection is what is to be watched. Paths are absolute and clean.
type Selection struct {
	// Roots are files and folders, which need not be there yet.
	Roots []string
	// Skips says of a folder below a root that nothing in it is of interest: it is not watched.
	Skips func(folder string) bool
	// Wants says whether a change of a path is of interest.
	Wants func(path string) bool
}

// Batch is what has changed: by path, and whether it was removed for a moment at least. What is the case now is to be looked at.
type Batch map[string]bool

// A batch ends with a short silence, a longer one where much happens at once, as when a branch is checked out; or when it has
// waited long enough.
const (
	shortQuiet = 40 * time.Millisecond
	longQuiet  = 200 * time.Millisecond
	manyPaths  = 32
	longest    = 2 * time.Second
)

// clockSlack is how much a file's time of change can lie behind the clock: the kernel takes it from its last tick.
const clockSlack = time.Second

var errEnded = errors.New("watching files has ended")

// Watcher watches one selection after the other.
type Watcher struct {
	state   *state
	resets  chan reset
	ended   chan struct{} // Run has
	changed Batch
	first   time.Time // when the oldest change of the batch came
	noted   bool      // there was a change since the batch began to wait
	settled time.Time // all that had happened until then is known, as far as a silence tells
	events  int       // that have come
	// The silences, of which the first is the last one before what may still have been in the kernel's queue by now.
	silences []silence
	unread   int // more than how many events can have happened and not come here without one being lost
	stamped  time.Time
	stamps   map[string]time.Time // when files were last changed that were passed on not long ago
}

// silence is a time at which nothing came for a moment. On a busy machine that may also mean that nobody read.
type silence struct {
	at     time.Time
	events int // that had come
}

// usualQueue is the kernel's default of fs.inotify.max_queued_events.
const usualQueue = 16384

// maxUnread is for a queue of the kernel's of now: that, what fsnotify has read of it, and what overtakes the news of a loss.
func maxUnread() int {
	queue, err := strconv.Atoi(setting("max_queued_events"))
	if err != nil {
		queue = usualQueue
	}
	return 3 * queue
}

// reset asks for another selection.
type reset struct {
	selection Selection
	done      chan error
}

// New begins to watch. Changes are kept from now on until Run passes them on. A limit of the kernel's is a *LimitError.
func New(s Selection) (*Watcher, error) {
	began := time.Now()
	first, err := newState(s)
	if err != nil {
		return nil, err
	}
	return &Watcher{state: first, resets: make(chan reset), ended: make(chan struct{}), changed: Batch{}, settled: began, silences: []silence{{began, 0}}, unread: maxUnread()}, nil
}

// Close ends the watching, after Run.
func (w *Watcher) Close() error { return w.state.close() }

// Reset changes what is watched while Run runs. Changes of what is watched before and afterwards are not lost. After an error
// everything is as it was.
func (w *Watcher) Reset(ctx context.Context, s Selection) error {
	r := reset{s, make(chan error, 1)}
	select {
	case w.resets <- r:
		return <-r.done
	case <-w.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run passes batches on until its context ends or watching fails, once. While nobody takes a batch, it grows.
func (w *Watcher) Run(ctx context.Context, batches chan<- Batch) error {
	defer close(w.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	var out chan<- Batch // nil while there is nothing to pass on
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-w.resets:
			r.done <- w.replace(r.selection)
		case e, ok := <-w.state.notify.Events:
			if !ok {
				return errEnded
			}
			w.events++
			w.state.handle(e, w.note)
		case <-w.state.lost:
			w.settled = w.silences[0].at // what was lost happened later than all that was in the queue when it was full
			if err := w.replace(w.state.Selection); err != nil {
				return err
			}
		case now := <-timer.C:
			w.settled = now.Add(-shortQuiet)
			w.silences = append(w.silences, silence{w.settled, w.events})
			for len(w.silences) > 1 && w.silences[1].events < w.events-w.unread {
				w.silences = w.silences[1:]
			}
			if len(w.changed) > 0 {
				w.stamp(now)
				out = batches
			}
			continue
		case out <- w.changed:
			w.changed, out = Batch{}, nil
			continue
		}
		if err := w.state.takeFault(); err != nil {
			return err
		}
		if w.noted || len(w.changed) == 0 { // what nobody wants does not keep a batch waiting
			w.noted, out = false, nil
			timer.Reset(w.quiet())
		}
	}
}

// stamp remembers which state of its files a batch tells of, before anybody looks at them.
func (w *Watcher) stamp(now time.Time) {
	if w.stamps == nil || now.Sub(w.stamped) > 2*clockSlack {
		w.stamps = map[string]time.Time{}
	}
	w.stamped = now
	for path := range w.changed {
		w.stamps[path] = changedAt(path)
	}
}

// quiet is how long the batch waits for more.
func (w *Watcher) quiet() time.Duration {
	if len(w.changed) == 0 {
		return shortQuiet
	}
	wait := shortQuiet
	if len(w.changed) > manyPaths {
		wait = longQuiet
	}
	return max(0, min(wait, time.Until(w.first.Add(longest))))
}

// note adds a change to the batch.
func (w *Watcher) note(path string, gone bool) {
	if !w.state.covers(path) || !w.state.Wants(path) {
		return
	}
	if len(w.changed) == 0 {
		w.first = time.Now()
	}
	w.changed[path] = w.changed[path] || gone
	w.noted = true
}

// replace watches anew and compares.
func (w *Watcher) replace(s Selection) error {
	began := time.Now()
	next, err := newState(s)
	if err != nil {
		return err
	}
	last := w.state
	w.state = next
	compare(last, next, w.settled.Add(-clockSlack), func(path string, gone bool) {
		if at, passed := w.stamps[path]; gone || !passed || !at.Equal(changedAt(path)) {
			w.note(path, gone)
		}
	})
	w.settled = began
	return last.close()
}

// inside tells whether a path is a folder or in it.
func inside(folder, path string) bool {
	return path == folder || folder == "/" || len(path) > len(folder) && path[len(folder)] == filepath.Separator && strings.HasPrefix(path, folder)
}
