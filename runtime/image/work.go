package image

import (
	"slices"
	"sync"
	"time"
)

// work knows which operations are going on, so that what they have recorded is not taken for unused before they have
// returned it: a pull in progress needs the image that it has just named.
//
// Names are written with recording held for reading, and removed with it held for writing: whether something is needed
// does not change between the question and the removal.
type work struct {
	recording sync.RWMutex

	mu      sync.Mutex
	next    int
	begun   map[int]time.Time    // operations that go on
	touched map[string]time.Time // records that were written, or found to be right already
}

// Begin marks the beginning of an operation that records images. Until end is called, Remove with Spare leaves alone what
// was recorded since.
func (s *Store) Begin() (end func()) { return s.work.begin() }

// Busy tells whether an operation goes on that was begun.
func (s *Store) Busy() bool {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	return len(s.work.begun) > 0
}

func (w *work) begin() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun == nil {
		w.begun, w.touched = map[int]time.Time{}, map[string]time.Time{}
	}
	w.next++
	id := w.next
	w.begun[id] = time.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.begun, id)
		oldest := w.oldest()
		for name, at := range w.touched {
			if oldest.IsZero() || at.Before(oldest) {
				delete(w.touched, name)
			}
		}
	}
}

// oldest is when the operation began that goes on longest; zero when there is none. mu is held.
func (w *work) oldest() (oldest time.Time) {
	for _, at := range w.begun {
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// touch notes that records are being written. recording is held for reading.
func (w *work) touch(names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.begun) == 0 {
		return
	}
	for _, name := range names {
		w.touched[name] = time.Now()
	}
}

// needs tells whether an operation that goes on has recorded one of the names.
func (w *work) needs(names []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := w.oldest()
	return !oldest.IsZero() && slices.ContainsFunc(names, func(name string) bool {
		at, ok := w.touched[name]
		return ok && !at.Before(oldest)
	})
}
