package image

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/typeurl/v2"
	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Between decompression and unpacking there are so many buffers of this size: enough for either to work on while the
// other one waits for the disk.
const (
	aheadBuffers    = 8
	aheadBufferSize = 256 << 10
)

// useFastGunzip makes containerd's applier, ours and BuildKit's, decompress gzip in a goroutine of its own and with a
// faster library. Left alone it would use the standard library between two writes, or execute programs that it finds in
// the PATH.
var useFastGunzip = sync.OnceFunc(func() {
	diff.RegisterProcessor(func(ctx context.Context, mediaType string) (diff.StreamProcessorInit, bool) {
		// What says that it is gzip may be something else, and docker's types do not even say.
		if compression, err := images.DiffCompression(ctx, mediaType); err != nil || compression != "gzip" && compression != "unknown" {
			return nil, false
		}
		return newGunzip, true
	})
})

// gzipMagic begins a gzip stream of the only method there is (RFC 1952, 2.3.1).
var gzipMagic = []byte{0x1f, 0x8b, 0x08}

// newGunzip is a diff.StreamProcessorInit. A stream that is no gzip is left to containerd, which looks at its beginning.
func newGunzip(ctx context.Context, stream diff.StreamProcessor, payloads map[string]typeurl.Any) (diff.StreamProcessor, error) {
	in := bufio.NewReaderSize(stream, aheadBufferSize)
	if head, err := in.Peek(len(gzipMagic)); err != nil && err != io.EOF || !bytes.Equal(head, gzipMagic) {
		return diff.GetProcessor(ctx, diff.NewProcessorChain(ocispec.MediaTypeImageLayerZstd, in), payloads)
	}
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	return &gunzip{ahead: newAhead(unzipped)}, nil
}

// gunzip is the tar in a compressed layer.
type gunzip struct{ *ahead }

func (*gunzip) MediaType() string { return ocispec.MediaTypeImageLayer }

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
