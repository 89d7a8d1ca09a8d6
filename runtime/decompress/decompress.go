// Package decompress reads archives whatever they are compressed with: gzip, bzip2, xz and zstd are recognised by their
// first bytes and decompressed in this process, in bounded memory. No program is ever run for it: one found in a PATH may
// be somebody else's (CVE-2026-41567).
package decompress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// Format is how a stream is compressed; None: it is not.
type Format string

// The formats that are known.
const (
	None  Format = ""
	Gzip  Format = "gzip"
	Bzip2 Format = "bzip2"
	Xz    Format = "xz"
	Zstd  Format = "zstd"
)

// maxWindow bounds what a decompressor keeps of what it has written, in bytes: `xz -9` needs 64 MiB, `zstd --long` 128 MiB.
const maxWindow = 128 << 20

// magics begin a stream: RFC 1952 (with deflate, the only method), bzip2, the .xz file format 2.1.1.1, RFC 8878 3.1.1.
var magics = []struct {
	format Format
	bytes  []byte
}{
	{Gzip, []byte{0x1f, 0x8b, 8}},
	{Bzip2, []byte("BZh")},
	{Xz, []byte{0xfd, '7', 'z', 'X', 'Z', 0}},
	{Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd}},
}

// Sniff tells a stream's format by its first bytes; six are enough.
func Sniff(head []byte) Format {
	for _, m := range magics {
		if bytes.HasPrefix(head, m.bytes) {
			return m.format
		}
	}
	// A zstd stream may begin with skippable frames (RFC 8878 3.1.2), 0x184D2A50 to 0x184D2A5F in little endian.
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return Zstd
	}
	return None
}

// Reader is a decompressed stream. Close lets go of its memory and does not close what it reads from.
type Reader struct {
	io.Reader
	Format Format
	close  func()
}

// Close ends the reading.
func (r *Reader) Close() error {
	if r.close != nil {
		r.close()
	}
	return nil
}

// Read adds the format to an error of the decompressor's, so that it says what is wrong with the stream.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == nil || r.Format == None || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, r.Format.explain(err)
}

func (f Format) explain(err error) error {
	if errors.Is(err, xz.ErrMemlimit) || errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fmt.Errorf("decompress %s: it needs more than %d MiB of memory: compress it with a smaller window: %w", f, maxWindow>>20, err)
	}
	return fmt.Errorf("decompress %s: %w", f, err)
}

// New reads from r, decompressed if it is compressed.
func New(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	d := &Reader{Format: Sniff(head)}
	switch d.Format {
	case Gzip:
		d.Reader, err = gzip.NewReader(in)
	case Bzip2:
		d.Reader, err = bzip2.NewReader(in), nil
	case Xz:
		d.Reader, err = xz.NewReader(in, maxWindow)
	case Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			d.Reader, d.close = z, z.Close
		}
	default:
		d.Reader, err = in, nil
	}
	if err != nil {
		return nil, d.Format.explain(err)
	}
	return d, nil
}
