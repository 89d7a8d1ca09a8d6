package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// recordText puts text into a log as a capture would.
func recordText(t *testing.T, f *File, text string) {
	t.Helper()
	f.writer.Lock()
	defer f.writer.Unlock()
	var out []byte
	if err := f.logData(context.Background(), Stdout, []byte(text), &out, func(int, int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// collect runs a subscription to its end.
func collect(t *testing.T, s *Subscription) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Run(t.Context(), func(e Entry) error { b.Write(e.Line); return nil }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A subscriber that comes late to read must get everything, however often the log has been rotated meanwhile, up to the
// place where it is told to end.
func TestSubscriberMissesNothing(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {MaxSize: 200, MaxFiles: 2}, {MaxSize: 200, Volatile: true}} {
		f, err := Open(filepath.Join(t.TempDir(), "log"), o)
		if err != nil {
			t.Fatal(err)
		}
		recordText(t, f, "before\n")
		s, err := f.Subscribe()
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for i := range 50 {
			line := fmt.Sprintf("line %d\n", i)
			recordText(t, f, line)
			want += line
		}
		s.Until(f.End())
		recordText(t, f, "after\n")
		if got := collect(t, s); got != want {
			t.Errorf("%+v: got %q, want %q", o, got, want)
		}
		if n := len(f.subs); n != 0 {
			t.Errorf("%+v: %d subscribers are left", o, n)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A log without readers must stay empty when it is to keep nothing.
func TestVolatile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	f, err := Open(path, Options{Volatile: true, MaxSize: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	recordText(t, f, "nobody hears this\n")
	if b, err := os.ReadFile(path); err != nil || len(b) != 0 {
		t.Errorf("%q, %v: want nothing", b, err)
	}
}

// A place in a log must be found again by another engine, as long as it is there.
func TestSubscribeAt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	recordText(t, f, "one\n")
	place := f.End()
	recordText(t, f, "two\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from Position
		want string
	}{{Position{}, "one\ntwo\n"}, {Position{Inode: place.Inode, Offset: place.Offset}, "two\n"}} {
		f, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.SubscribeAt(c.from)
		if err != nil {
			t.Fatal(err)
		}
		s.Until(f.End())
		if got := collect(t, s); got != c.want {
			t.Errorf("from %+v: %q, want %q", c.from, got, c.want)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSubscribeAtRotated(t *testing.T) {
	t.Parallel()
	f, err := Open(filepath.Join(t.TempDir(), "log"), Options{MaxSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	recordText(t, f, "one\n")
	if _, err := f.SubscribeAt(Position{Inode: f.inode + 100000}); !errors.Is(err, ErrRotated) {
		t.Errorf("got %v, want ErrRotated", err)
	}
}
