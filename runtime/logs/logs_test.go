package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// record writes data to a log as one batch.
func (f *File) mustLog(t testing.TB, stream, data string) {
	t.Helper()
	f.writer.Lock()
	defer f.writer.Unlock()
	var out []byte
	err := f.logData(t.Context(), stream, []byte(data), &out, func(int, int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func openLog(t testing.TB, o Options) *File {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "c-json.log"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// lines reads a log as text: o: or e: for the stream, then the line, quoted without a newline at its end.
func lines(t testing.TB, f *File, o ReadOptions) []string {
	t.Helper()
	var got []string
	var last time.Time
	err := f.Read(t.Context(), o, func(e Entry) error {
		line, ended := strings.CutSuffix(string(e.Line), "\n")
		if !ended {
			line += "…"
		} else if e.Time.Before(last) {
			t.Errorf("time goes back from %s to %s", last, e.Time)
		}
		last = e.Time
		got = append(got, e.Stream[3:4]+":"+line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func equal(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestFormat: records must be what Docker writes, byte for byte where the text is UTF-8.
func TestFormat(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 60, time.UTC)
	got := string(appendRecord(nil, []byte("a\"\\\t\r\x01é€😀\x7f\n"), recordEnd(Stderr, at, nil)))
	want := `{"log":"a\"\\\t\r\u0001é€😀` + "\x7f" + `\n","stream":"stderr","time":"2026-01-02T03:04:05.00000006Z"}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var docker struct {
		Log, Stream string
		Time        time.Time
	}
	binary := appendRecord(nil, []byte("x\xff\xc3y"), recordEnd(Stdout, at, nil))
	if err := json.Unmarshal(binary, &docker); err != nil || docker.Log != "x\ufffd\ufffdy" || !docker.Time.Equal(at) {
		t.Errorf("another reader sees %+v, %v", docker, err)
	}
}

// TestBytesAreExact: whatever the container writes, in whatever pieces, must come back.
func TestBytesAreExact(t *testing.T) {
	all := make([]byte, 0, 70000)
	for i := range 65536 {
		all = append(all, byte(i), byte(i>>8))
	}
	all = append(all, strings.Repeat("€", 20000)...)
	for _, size := range []int{1, 3, 1000, maxPiece, len(all)} {
		f := openLog(t, Options{})
		for rest := all; len(rest) > 0; {
			n := min(size, len(rest))
			f.mustLog(t, Stdout, string(rest[:n]))
			rest = rest[n:]
		}
		for _, raw := range []bool{false, true} {
			var got []byte
			err := f.Read(t.Context(), ReadOptions{Tail: -1, Raw: raw}, func(e Entry) error {
				got = append(got, e.Line...)
				return nil
			})
			if err != nil || !bytes.Equal(got, all) {
				t.Errorf("pieces of %d, raw %v: %d bytes of %d come back, %v", size, raw, len(got), len(all), err)
			}
		}
		if size == 1 && testing.Short() {
			break
		}
	}
}

func TestPieces(t *testing.T) {
	long := strings.Repeat("x", maxPiece-1) + "€" + strings.Repeat("y", 10) + "\n"
	var got []int
	for data := []byte(long); len(data) > 0; {
		n := pieceLen(data)
		got = append(got, n)
		data = data[n:]
	}
	if fmt.Sprint(got) != fmt.Sprint([]int{maxPiece - 1, 14}) {
		t.Errorf("pieces of %v bytes: a character is torn", got)
	}
}

func TestTail(t *testing.T) {
	f := openLog(t, Options{})
	f.mustLog(t, Stdout, "one\n")
	f.mustLog(t, Stdout, "tw")
	f.mustLog(t, Stderr, "err 1\nerr 2")
	f.mustLog(t, Stdout, "o\nthree\n")
	f.mustLog(t, Stderr, " goes on\n")
	f.mustLog(t, Stdout, "prompt> ")
	all := []string{"o:one", "e:err 1", "o:two", "o:three", "e:err 2 goes on", "o:prompt> …"}
	equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), all...)
	for n := range 9 {
		equal(t, fmt.Sprintf("tail %d", n), lines(t, f, ReadOptions{Tail: n}), all[max(0, len(all)-n):]...)
	}
}

// TestTailLong: tails of many lines across blocks and files must be the same as the end of everything.
func TestTailLong(t *testing.T) {
	f := openLog(t, Options{MaxSize: 100_000, MaxFiles: 20})
	for i := range 3000 {
		f.mustLog(t, []string{Stdout, Stderr}[i%7/4], fmt.Sprintf("line %d %s", i, strings.Repeat("-", i*i%997)))
		if i%5 > 0 {
			f.mustLog(t, []string{Stdout, Stderr}[i%7/4], strings.Repeat("=", i%300)+"\n")
		}
	}
	f.mustLog(t, Stderr, "\n")
	f.mustLog(t, Stdout, "unfinished")
	all := lines(t, f, ReadOptions{Tail: -1})
	for _, n := range []int{0, 1, 2, 3, 10, 100, 777, 1500, len(all) - 1, len(all), len(all) + 1} {
		equal(t, fmt.Sprintf("tail %d", n), lines(t, f, ReadOptions{Tail: n}), all[max(0, len(all)-n):]...)
	}
}

func TestSinceUntil(t *testing.T) {
	f := openLog(t, Options{})
	var at []time.Time
	for i := range 5 {
		f.mustLog(t, Stdout, fmt.Sprintf("%d\n", i))
		at = append(at, f.last)
		f.last = f.last.Add(time.Hour) // as if an hour later
	}
	equal(t, "since", lines(t, f, ReadOptions{Tail: -1, Since: at[2].Add(time.Minute)}), "o:3", "o:4")
	equal(t, "until", lines(t, f, ReadOptions{Tail: -1, Until: at[2].Add(time.Minute)}), "o:0", "o:1", "o:2")
	equal(t, "both", lines(t, f, ReadOptions{Tail: -1, Since: at[1], Until: at[3]}), "o:1", "o:2", "o:3")
	equal(t, "tail first", lines(t, f, ReadOptions{Tail: 2, Until: at[3]}), "o:3")
	equal(t, "follow until then", lines(t, f, ReadOptions{Tail: -1, Until: at[0].Add(time.Minute), Follow: true}), "o:0")
}

// TestLongLines: lines longer than what is joined come in parts, and cost no more memory than that.
func TestLongLines(t *testing.T) {
	f := openLog(t, Options{})
	f.mustLog(t, Stdout, strings.Repeat("x", 3*maxLine+5)+"\nshort\n")
	total := 0
	for _, l := range lines(t, f, ReadOptions{Tail: -1}) {
		if len(l) > maxLine+maxPiece+10 {
			t.Errorf("an entry of %d bytes", len(l))
		}
		total += strings.Count(l, "x")
	}
	if total != 3*maxLine+5 {
		t.Errorf("%d bytes of %d", total, 3*maxLine+5)
	}
	equal(t, "tail", lines(t, f, ReadOptions{Tail: 1}), "o:short")
}

func TestClockSetBack(t *testing.T) {
	f := openLog(t, Options{})
	f.mustLog(t, Stdout, "a\n")
	f.last = f.last.Add(time.Hour)
	f.mustLog(t, Stdout, "b\n")
	want := f.last
	again, err := Open(f.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.mustLog(t, Stdout, "c\n")
	if again.last.Sub(want) != 1 {
		t.Errorf("a new engine goes from %s to %s", want, again.last)
	}
	equal(t, "order", lines(t, again, ReadOptions{Tail: -1}), "o:a", "o:b", "o:c")
}

func TestRotation(t *testing.T) {
	for files := 1; files <= 4; files++ {
		f := openLog(t, Options{MaxSize: 500, MaxFiles: files})
		for i := range 100 {
			f.mustLog(t, Stdout, fmt.Sprintf("line %d\n", i))
		}
		found, err := filepath.Glob(f.path + "*")
		if err != nil || len(found) != files {
			t.Errorf("max-file %d leaves %v", files, found)
		}
		for _, name := range found {
			if st, err := os.Stat(name); err != nil || st.Size() > 600 {
				t.Errorf("%s: %v, %v", name, st, err)
			}
		}
		got := lines(t, f, ReadOptions{Tail: -1})
		if got[len(got)-1] != "o:line 99" || len(got) < files*5-5 {
			t.Errorf("max-file %d: %q", files, got)
		}
		if err := Remove(f.path); err != nil {
			t.Error(err)
		}
		if err := Remove(f.path); err != nil {
			t.Errorf("removed twice: %v", err)
		}
		if found, _ := filepath.Glob(f.path + "*"); len(found) > 0 {
			t.Errorf("remove leaves %v", found)
		}
	}
}

// TestRotationCrash: a rotation that was cut off half way must neither lose nor shift a file by the next.
func TestRotationCrash(t *testing.T) {
	f := openLog(t, Options{MaxSize: 90, MaxFiles: 4})
	for _, s := range []string{"1", "2", "3"} {
		f.mustLog(t, Stdout, s+"\n")
		f.mustLog(t, Stdout, s+"\n")
	}
	if err := os.Rename(f.path+".1", f.path+".gone"); err != nil { // as after .1 became .2, before the current became .1
		t.Fatal(err)
	}
	if err := os.Rename(f.path+".gone", f.path+".2"); err != nil {
		t.Fatal(err)
	}
	f.mustLog(t, Stdout, "4\n")
	equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), "o:2", "o:2", "o:3", "o:3", "o:4")
}

// TestTornEnd: what a crash of the machine left of a record must not spoil the next.
func TestTornEnd(t *testing.T) {
	f := openLog(t, Options{})
	f.mustLog(t, Stdout, "whole\n")
	_, _ = f.cur.WriteAt([]byte(`{"log":"ha`), f.size)
	again, err := Open(f.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.mustLog(t, Stdout, "next\n")
	equal(t, "all", lines(t, again, ReadOptions{Tail: -1}), "o:whole", "o:next")
}

// TestForeignRecords: Docker's own records, with attributes and in another order, are read; rubbish is left out.
func TestForeignRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	text := `{"log":"a\u003cb\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-01-02T03:04:05Z"}
rubbish
{"stream":"stderr","time":"2026-01-02T03:04:06Z","log":"\ud83d\ude00\n"}
{"log":"c\n","stream":"stdout","time":"2026-01-02T03:04:07Z"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	equal(t, "all", lines(t, f, ReadOptions{Tail: -1}), "o:a<b", "e:😀", "o:c")
	equal(t, "tail", lines(t, f, ReadOptions{Tail: 2}), "e:😀", "o:c")
}

// TestFollow: followers must see every line once, in order, across rotations, and end with Finish.
func TestFollow(t *testing.T) {
	t.Parallel()
	f := openLog(t, Options{MaxSize: 20_000, MaxFiles: 1000})
	f.mustLog(t, Stdout, "line 0\n")
	sub, err := f.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	var followed, fromTail []string
	var wg sync.WaitGroup
	wg.Go(func() { followed = lines(t, f, ReadOptions{Tail: -1, Follow: true}) })
	wg.Go(func() { fromTail = lines(t, f, ReadOptions{Tail: 0, Follow: true}) })
	wg.Go(func() {
		if err := sub.Run(t.Context(), func(e Entry) error { raw.Write(e.Line); return nil }); err != nil {
			t.Error(err)
		}
	})
	var want []string
	want = append(want, "o:line 0")
	for i := 1; i < 5000; i++ {
		f.mustLog(t, Stdout, "li")
		f.mustLog(t, Stdout, fmt.Sprintf("ne %d\n", i))
		want = append(want, fmt.Sprintf("o:line %d", i))
	}
	f.Finish()
	wg.Wait()
	equal(t, "follow", followed, want...)
	if n := len(fromTail); n > 0 {
		equal(t, "follow from the end", fromTail, want[len(want)-n:]...)
	}
	if got := strings.Count(raw.String(), "line "); got != 4999 || raw.Len() != len(strings.Join(want[1:], ""))-4999 {
		t.Errorf("subscriber got %d lines, %d bytes", got, raw.Len())
	}
}

func TestFollowEndsWithContext(t *testing.T) {
	t.Parallel()
	f := openLog(t, Options{})
	f.mustLog(t, Stdout, "a\n")
	ctx, cancel := context.WithCancel(t.Context())
	err := f.Read(ctx, ReadOptions{Tail: -1, Follow: true}, func(Entry) error { cancel(); return nil })
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
	until := time.Now().Add(20 * time.Millisecond)
	if got := lines(t, f, ReadOptions{Tail: -1, Follow: true, Until: until}); len(got) != 1 || time.Now().Before(until) {
		t.Errorf("follow until: %v", got)
	}
}

// TestMerge: entries of several logs must come in the order of time, also while they are followed.
func TestMerge(t *testing.T) {
	t.Parallel()
	var sources []Source
	for range 5 {
		sources = append(sources, Source{Log: openLog(t, Options{}), Options: ReadOptions{Tail: -1}})
	}
	const count = 2000
	for i := range count {
		sources[i*i%5].Log.mustLog(t, Stdout, fmt.Sprintf("%d\n", i))
	}
	merge := func(during func(next int)) {
		next := 0
		err := Merge(t.Context(), sources, func(i int, e Entry) error {
			if got := string(e.Line); got != fmt.Sprintf("%d\n", next) || i != next*next%5 {
				return fmt.Errorf("entry %d is %q from %d", next, got, i)
			}
			next++
			during(next)
			return nil
		})
		if err != nil || next < count {
			t.Errorf("merged %d entries: %v", next, err)
		}
	}
	merge(func(int) {})
	for i := range sources {
		sources[i].Options.Follow = true
	}
	merge(func(next int) {
		switch {
		case next >= count && next < count+10:
			sources[next*next%5].Log.mustLog(t, Stdout, fmt.Sprintf("%d\n", next))
		case next == count+10:
			for _, s := range sources {
				s.Log.Finish()
			}
		}
	})
}
