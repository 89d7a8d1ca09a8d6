package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzRead: a reader must end without an error on any file, and the tail must be the end of everything.
func FuzzRead(f *testing.F) {
	end := string(recordEnd(Stdout, time.Unix(1, 2), nil))
	f.Add([]byte(`{"log":"a\n`+end+`{"log":"\udcff\ud83d\ude00`+end), 1)
	f.Add([]byte(strings.Repeat(`{"log":"x`+end, 3)+`{"log":"e\n`+string(recordEnd(Stderr, time.Unix(2, 0), nil))), 1)
	f.Add([]byte("\n\n{}\n{\"log\":\"\\u12\"}\nnull\n[]\n{\"log\":\"\\"), 2)
	none := `{"log":"` + end // a record without text, which ends a line or nothing
	f.Add([]byte(`{"log":"a\n`+end+none), 1)
	f.Add([]byte(none+`{"log":"a`+end+none+none+`{"log":"b\n`+string(recordEnd(Stderr, time.Unix(2, 0), nil))+none+`{"log":"c`+end+none), 2)
	f.Add([]byte(`{"log":"a`+end+`{"log":"b\n`+string(recordEnd(Stderr, time.Unix(2, 0), nil))+none+`{"log":"c\n`+end+none), 2)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, tail int) {
		if tail < 0 || tail > 1000 {
			return
		}
		path := filepath.Join(dir, "log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		count := 0
		for _, o := range []ReadOptions{{Tail: -1}, {Tail: tail}, {Tail: -1, Raw: true}} {
			n := 0
			if err := log.Read(context.Background(), o, func(Entry) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			if o.Tail < 0 && !o.Raw {
				count = n
			}
			if o.Tail >= 0 && n != min(count, tail) && len(content) < maxLine {
				t.Errorf("tail %d of %d gives %d", tail, count, n)
			}
		}
	})
}

// FuzzRecord: any bytes must survive a record, which must be JSON.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("\xed\xb2\x80 \xff\xfe\"\\\x00\n"))
	f.Add([]byte("\xf0\x9f\x98"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		data = data[:pieceLen(data)]
		at := time.Unix(1, 2).UTC()
		line := appendRecord(nil, data, recordEnd(Stderr, at, nil))
		if !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("not a line of JSON: %q", line)
		}
		rec, _, ok := parse(bytes.TrimSuffix(line, []byte("\n")), nil)
		if !ok || !bytes.Equal(rec.piece, data) || rec.stream != Stderr || !rec.at.Equal(at) {
			t.Fatalf("%q became %q (%s, %s)", data, rec.piece, rec.stream, rec.at)
		}
	})
}
