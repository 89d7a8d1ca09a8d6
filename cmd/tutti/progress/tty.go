package progress

import (
	"time"

	"tutti/scheduler/api"
)

const tickEvery = 100 * time.Millisecond

// tty redraws a block of rows in place. All methods but close run under the Display's lock.
type tty struct {
	d         *Display
	o         Options
	tasks     tasks
	screen    screen
	suspended bool
	closed    bool
	erased    bool      // there was a block before suspend
	painted   time.Time // when it was last drawn
	ticking   bool
	stop      chan struct{}
	stopped   chan struct{}
}

func newTTY(d *Display, o Options) *tty {
	return &tty{d: d, o: o, screen: screen{out: d.out}, stop: make(chan struct{}), stopped: make(chan struct{})}
}

func (t *tty) resource(e api.Event) {
	t.tasks.apply(e, t.o.Now())
	if !t.ticking && !t.closed {
		t.ticking = true
		go t.redraw()
	}
}

// redraw repaints at every tick: events may come by the thousand, a frame is wanted ten times a second.
func (t *tty) redraw() {
	defer close(t.stopped)
	tick, stopTick := t.tick()
	defer stopTick()
	for {
		select {
		case <-t.stop:
			return
		case <-tick:
			t.d.mu.Lock()
			t.paint()
			t.d.mu.Unlock()
		}
	}
}

func (t *tty) tick() (<-chan time.Time, func()) {
	if t.o.Tick != nil {
		return t.o.Tick()
	}
	k := time.NewTicker(tickEvery)
	return k.C, k.Stop
}

func (t *tty) paint() {
	if t.suspended || t.closed || len(t.tasks.rows) == 0 {
		return
	}
	w, h := t.o.Size()
	t.painted = t.o.Now()
	t.screen.paint(frame(&t.tasks, t.o.Operation, w, h, t.o.Color, t.painted), w)
}

func (t *tty) warning(text string) {
	painted := len(t.screen.prev) > 0
	t.screen.erase()
	label := "WARN"
	if t.o.Color {
		label = amber.apply(label)
	}
	t.d.out.Write([]byte(label + " " + text + "\n")) //nolint:errcheck // as in paint
	if painted {
		t.paint()
	}
}

func (t *tty) suspend() {
	t.erased = len(t.screen.prev) > 0
	t.screen.erase()
	t.suspended = true
}

// resume draws the block again at once, so that it does not flicker under single lines; under a stream of lines it waits
// for the next tick.
func (t *tty) resume() {
	t.suspended = false
	if t.erased && t.o.Now().Sub(t.painted) >= tickEvery/2 {
		t.paint()
	}
	t.erased = false
}

func (t *tty) close() {
	t.d.mu.Lock()
	ticking := t.ticking
	t.ticking = false
	t.paint()
	t.screen.forget()
	t.closed = true
	t.d.mu.Unlock()
	if ticking {
		close(t.stop)
		<-t.stopped
	}
}
