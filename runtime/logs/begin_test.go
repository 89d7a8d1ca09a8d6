package logs

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestRunsAreApart: what a run leaves unfinished must not be glued to the first line of the next, in whatever way the
// log is read, and no byte may be added to what the container wrote.
func TestRunsAreApart(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		f := openLog(t, Options{})
		again := func() {
			t.Helper()
			if reopen {
				path := f.path
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				var err error
				if f, err = Open(path, Options{}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
			}
			for range 2 { // twice is once
				if err := f.Begin(); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.mustLog(t, Stderr, "bad ")
		f.mustLog(t, Stderr, "end")
		f.mustLog(t, Stdout, "one\ntwo")
		again()
		f.mustLog(t, Stdout, "three\n")
		again()
		f.mustLog(t, Stdout, "four\nfive")
		f.mustLog(t, Stderr, "other\n")

		equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), "o:one", "e:bad end", "o:two", "o:three", "o:four", "e:other", "o:five…")
		equal(t, "tail 1", lines(t, f, ReadOptions{Tail: 1}), "e:other")
		equal(t, "tail 4", lines(t, f, ReadOptions{Tail: 4}), "o:three", "o:four", "e:other", "o:five…")
		equal(t, "tail 5", lines(t, f, ReadOptions{Tail: 5}), "o:two", "o:three", "o:four", "e:other", "o:five…")
		equal(t, "tail 6", lines(t, f, ReadOptions{Tail: 6}), "e:bad end", "o:two", "o:three", "o:four", "e:other", "o:five…")
		equal(t, "tail 7", lines(t, f, ReadOptions{Tail: 7}), "o:one", "e:bad end", "o:two", "o:three", "o:four", "e:other", "o:five…")
		var raw []byte
		err := f.Read(t.Context(), ReadOptions{Tail: -1, Raw: true}, func(e Entry) error {
			raw = append(raw, e.Line...)
			return nil
		})
		if want := "bad endone\ntwothree\nfour\nfiveother\n"; err != nil || !bytes.Equal(raw, []byte(want)) {
			t.Errorf("raw: %q, %v, want %q", raw, err, want)
		}
	}
}

// TestAttributes: labels and the like stand in every record as docker writes them, and change nothing of the text.
func TestAttributes(t *testing.T) {
	t.Parallel()
	f := openLog(t, Options{Attributes: map[string]string{"tag": `"time":"x"}`, "a": "b"}})
	f.mustLog(t, Stdout, "x\xff\nunfinished")
	equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), "o:x\xff", "o:unfinished…")
	text, err := os.ReadFile(f.path)
	if want := `,"stream":"stdout","attrs":{"a":"b","tag":"\"time\":\"x\"}"},"time":"`; err != nil || strings.Count(string(text), want) != 2 {
		t.Errorf("%s, %v: want %s twice", text, err, want)
	}
}
