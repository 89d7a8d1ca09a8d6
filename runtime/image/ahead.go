package image

import "io"

// Between decompression and unpacking there are so many buffers of this size: enough for either to work on while the
// other one waits for the disk.
const (
	aheadBuffers    = 8
	aheadBufferSize = 256 << 10
)

// ahead reads a stream in a goroutine of its own, up to aheadBuffers before its reader. Close ends the goroutine and waits
// for it.
type ahead struct {
	filled  chan []byte // closed at the end of the stream
	empty   chan []byte
	stop    chan struct{}
	err     error // the stream's end, set before filled is closed
	current []byte
	rest    []byte // of current
}

func newAhead(r io.Reader) *ahead {
	a := &ahead{filled: make(chan []byte, aheadBuffers), empty: make(chan []byte, aheadBuffers), stop: make(chan struct{})}
	for range aheadBuffers {
		a.empty <- nil // made when needed: most layers are small
	}
	go a.fill(r)
	return a
}

func (a *ahead) fill(r io.Reader) {
	defer close(a.filled)
	for a.err == nil {
		var b []byte
		select {
		case b = <-a.empty:
		case <-a.stop:
			return
		}
		if b == nil {
			b = make([]byte, aheadBufferSize)
		}
		n := 0
		for n < len(b) && a.err == nil {
			var m int
			m, a.err = r.Read(b[n:])
			n += m
		}
		select {
		case a.filled <- b[:n]:
		case <-a.stop:
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.current != nil {
			a.empty <- a.current[:cap(a.current)] // has room for all buffers
		}
		var ok bool
		if a.current, ok = <-a.filled; !ok {
			return 0, a.err
		}
		a.rest = a.current
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close must be called once; the stream is not read any more when it returns.
func (a *ahead) Close() error {
	close(a.stop)
	for range a.filled { // until it is closed
	}
	return nil
}
