package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
)

func event(action string) events.Message {
	return events.Message{Type: events.ContainerEventType, Action: events.Action(action), Actor: events.Actor{ID: "c1", Attributes: map[string]string{"name": "web"}}}
}

// actions reads the journal from a time to now.
func actions(t *testing.T, j *Journal, since time.Time) string {
	t.Helper()
	var got []string
	err := j.Read(t.Context(), Options{Since: since, Until: time.Now()}, func() {}, func(m events.Message) error {
		got = append(got, string(m.Action))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

func TestJournalSurvivesACrashAndCutsLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events")
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for _, a := range []string{"create", "start"} {
		if err := j.Append(event(a)); err != nil {
			t.Fatal(err)
		}
	}
	middle := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"Type":"container","Act`); err != nil { // what a power cut leaves
		t.Fatal(err)
	}
	f.Close()
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Append(event("die")); err != nil {
		t.Fatal(err)
	}
	if got := actions(t, again, start); got != "create start die" {
		t.Errorf("since the start: %s", got)
	}
	if got := actions(t, again, middle); got != "die" {
		t.Errorf("since the middle: %s", got)
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events")
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	j.half = 2000
	start := time.Now()
	for range 500 {
		if err := j.Append(event("start")); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Append(event("die")); err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, p := range []string{path, path + ".1"} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	got := actions(t, j, start)
	if size > 2*(j.half+500) || !strings.HasSuffix(got, "start die") || strings.Count(got, "start") < 10 {
		t.Errorf("%d bytes, the events are: %s", size, got)
	}
}

// Nothing that happens between what is kept and what comes may be lost or come twice, and the times must rise.
func TestReadHasNoGap(t *testing.T) {
	t.Parallel()
	j, err := Open(filepath.Join(t.TempDir(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		for range n {
			if err := j.Append(event("start")); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	ctx, cancel := context.WithCancel(t.Context())
	count, last := 0, int64(0)
	err = j.Read(ctx, Options{Since: start}, func() {}, func(m events.Message) error {
		if m.TimeNano <= last {
			t.Errorf("event %d is not later than the one before", count)
		}
		last = m.TimeNano
		if count++; count == n {
			cancel()
		}
		return nil
	})
	if err != nil || count != n {
		t.Errorf("%d events, %v", count, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReadEnds(t *testing.T) {
	t.Parallel()
	j, err := Open(filepath.Join(t.TempDir(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Read(t.Context(), Options{Until: time.Now().Add(20 * time.Millisecond)}, func() {}, nil); err != nil {
		t.Errorf("until: %v", err)
	}
	failed := errors.New("gone")
	err = j.Read(t.Context(), Options{}, func() { _ = j.Append(event("start")) }, func(events.Message) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("a reader that fails: %v", err)
	}
	err = j.Read(t.Context(), Options{}, func() {
		for range maxBehind + 1 {
			_ = j.Append(event("start"))
		}
	}, func(events.Message) error { return nil })
	if !errors.Is(err, ErrTooSlow) {
		t.Errorf("a reader that is too slow: %v", err)
	}
	if err := j.Read(t.Context(), Options{}, func() { _ = j.Close() }, nil); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	m := events.Message{Type: "container", Action: "health_status: healthy", Scope: "local", Actor: events.Actor{
		ID: "0123abcd", Attributes: map[string]string{"name": "demo-web-1", "image": "busybox:latest", "tier": "front"},
	}}
	for filter, want := range map[string]bool{
		``:                                     true,
		`{"type":["container"]}`:               true,
		`{"type":{"network":true}}`:            false,
		`{"event":["health_status"]}`:          true,
		`{"event":["health_status: healthy"]}`: true,
		`{"event":["die","start"]}`:            false,
		`{"container":["0123"]}`:               true,
		`{"container":["demo-web"]}`:           true,
		`{"container":["demo-db"]}`:            false,
		`{"label":["tier"]}`:                   true,
		`{"label":["tier=front","name"]}`:      true,
		`{"label":["tier=front","none"]}`:      false,
		`{"label":{"tier=back":true}}`:         false,
		`{"image":["busybox"]}`:                true,
		`{"image":["nginx"]}`:                  false,
	} {
		f, err := ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		} else if got := f.Match(m); got != want {
			t.Errorf("%s: %v", filter, got)
		}
	}
	for _, bad := range []string{`[]`, `{"plugin":["x"]}`, `{"type":1}`} {
		if _, err := ParseFilter(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
