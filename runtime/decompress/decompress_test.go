package decompress

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var text = strings.Repeat("what was compressed comes out again, four hundred times over. ", 400)

func compressed(t testing.TB) map[Format][]byte {
	t.Helper()
	all := map[Format][]byte{None: []byte(text)}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	all[Gzip] = b.Bytes()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	all[Zstd] = z.EncodeAll([]byte(text), nil)
	for f, file := range map[Format]string{Xz: "testdata/text.xz", Bzip2: "testdata/text.bz2"} { // there is no writer for these
		if all[f], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Each format is recognised and read, several streams behind one another too.
func TestDecompress(t *testing.T) {
	t.Parallel()
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "skip"...)
	for format, data := range compressed(t) {
		for repeats, in := range map[int][]byte{1: data, 2: bytes.Repeat(data, 2)} {
			if format == Zstd {
				in = append(bytes.Clone(skippable), in...)
			}
			r, err := New(bytes.NewReader(in))
			if err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			out, err := io.ReadAll(r)
			if err != nil || string(out) != strings.Repeat(text, repeats) || r.Format != format {
				t.Errorf("%q is taken for %q, %d times: %d bytes, %v", format, r.Format, repeats, len(out), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if format == None {
			continue
		}
		r, err := New(bytes.NewReader(data[:len(data)-9]))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), string(format)) {
			t.Errorf("%s that is cut off: %v", format, err)
		}
	}
	r, err := New(strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(r); err != nil || len(out) > 0 {
		t.Errorf("nothing: %q, %v", out, err)
	}
}

// A stream that asks for gigabytes to be decompressed gets an error that says so.
func TestDecompressMemory(t *testing.T) {
	t.Parallel()
	// RFC 8878 3.1.1.1: no single segment, a window of 2 GiB; then a block of one byte.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 9, 0, 0, 'x'}
	// The .xz format 3.1: a block header of 12 bytes with one filter, LZMA2, whose dictionary has 4 GiB less one.
	data := compressed(t)[Xz]
	dictionary := bytes.Clone(data)
	header := dictionary[12:24]
	header[4] = 40
	binary.LittleEndian.PutUint32(header[8:], crc32.ChecksumIEEE(header[:8]))
	for name, in := range map[string][]byte{"zstd": window, "xz": dictionary} {
		r, err := New(bytes.NewReader(in))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil || !strings.Contains(err.Error(), "needs more than 128 MiB of memory") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
