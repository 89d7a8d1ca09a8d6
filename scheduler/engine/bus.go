package engine

import "sync"

// changeKind is what happened to a container.
type changeKind string

const (
	changeCreated changeKind = "create"
	changeStarted changeKind = "start"
	changeExited  changeKind = "exit"
	changeHealth  changeKind = "health"
	changeRemoved changeKind = "removed"
	changeHook    changeKind = "hook" // a hook has printed a line
	changeRenamed changeKind = "rename"
)

// change is one thing that happened to a container. For an exit, code and restart say how and whether it starts again.
type change struct {
	kind    changeKind
	unit    *Unit
	code    int
	restart bool
	health  string
	why     string // the engine's reason for an exit that it brought about
	stream  string // of a hook's line
	line    []byte
	was     string // its name before a rename
}

// bus hands every change to everybody who listens. A listener that does not keep up loses nothing: its queue grows.
type bus struct {
	observe   func(change) // is told first
	mu        sync.Mutex
	listeners map[*listener]struct{}
}

// listener is one subscription to the bus.
type listener struct {
	bus   *bus
	mu    sync.Mutex
	queue []change
	wake  chan struct{} // holds one token while the queue is not empty
}

func newBus(observe func(change)) *bus {
	return &bus{observe: observe, listeners: map[*listener]struct{}{}}
}

func (b *bus) listen() *listener {
	l := &listener{bus: b, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners[l] = struct{}{}
	return l
}

func (b *bus) send(c change) {
	b.observe(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.listeners {
		l.mu.Lock()
		l.queue = append(l.queue, c)
		l.mu.Unlock()
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what happened since the last take.
func (l *listener) take() []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queue
	l.queue = nil
	return q
}

func (l *listener) close() {
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	delete(l.bus.listeners, l)
}
