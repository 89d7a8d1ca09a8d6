package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tonistiigi/vt100"

	"tutti/scheduler/api"
)

// terminal is a screen to look at, with a clock and redraws that the test drives.
type terminal struct {
	*vt100.VT100
	d    *Display
	now  time.Time
	tick chan time.Time
}

func newTerminal(t *testing.T, width, height int) *terminal {
	t.Helper()
	s := &terminal{VT100: vt100.NewVT100(height, width), now: time.Unix(1000, 0), tick: make(chan time.Time)}
	s.d = New(t.Context(), Options{
		Out: s, Mode: TTY, Operation: "up", Color: true,
		Size: func() (int, int) { return width, height },
		Now:  func() time.Time { return s.now },
		Tick: func() (<-chan time.Time, func()) { return s.tick, func() {} },
	})
	t.Cleanup(s.d.Close)
	return s
}

// Write gives a line feed the carriage return that a terminal's line discipline adds.
func (s *terminal) Write(p []byte) (int, error) {
	_, err := s.VT100.Write([]byte(strings.ReplaceAll(string(p), "\n", "\r\n")))
	return len(p), err
}

func (s *terminal) events(events ...api.Event) {
	for _, e := range events {
		s.d.Event(e)
	}
}

// redraw lets time pass and returns when the frame is on the screen: the second tick is taken when the first is drawn.
func (s *terminal) redraw(after time.Duration) {
	s.d.mu.Lock()
	s.now = s.now.Add(after)
	s.d.mu.Unlock()
	s.tick <- s.now
	s.tick <- s.now
}

// screen is what is to be seen.
func (s *terminal) screen() string {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	var lines []string
	for _, l := range s.Content {
		lines = append(lines, strings.TrimRight(string(l), " \x00"))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func (s *terminal) expect(t *testing.T, want string) {
	t.Helper()
	if got, want := s.screen(), strings.Trim(want, "\n"); got != want {
		t.Errorf("screen is\n%s\nwant\n%s", got, want)
	}
}

func TestTTYStory(t *testing.T) {
	t.Parallel()
	s := newTerminal(t, 66, 12)
	s.events(event("Network", "demo_default", "Creating", api.PhaseWorking))
	s.redraw(100 * time.Millisecond)
	s.expect(t, `
[+] up 0/1
 ⠙ Network demo_default Creating                             0.1s
`)
	s.events(event("Network", "demo_default", "Created", api.PhaseDone), pulling("nginx", 250, 1000))
	s.redraw(time.Second)
	s.expect(t, `
[+] up 1/2
 ✔ Network demo_default Created                              0.1s
 ⠋ Image nginx          Pulling [⣿⣿⣤⠀⠀⠀⠀⠀⠀⠀] 250B / 1kB      1.0s
`)
	s.d.Above(func() { fmt.Fprintln(s, "web-1  | hello") })
	s.events(event("Image", "nginx", "Pulled", api.PhaseDone), event("Container", "demo-web-1", "Started", api.PhaseDone))
	s.redraw(time.Second)
	s.expect(t, `
web-1  | hello
[+] up 3/3
 ✔ Network demo_default Created                              0.1s
 ✔ Image nginx          Pulled                               1.0s
 ✔ Container demo-web-1 Started                              0.0s
`)
	s.events(api.Event{Kind: api.KindWarning, Text: "careful"})
	s.d.Close()
	fmt.Fprintln(s, "after")
	s.expect(t, `
web-1  | hello
WARN careful
[+] up 3/3
 ✔ Network demo_default Created                              0.1s
 ✔ Image nginx          Pulled                               1.0s
 ✔ Container demo-web-1 Started                              0.0s
after
`)
}

// What is done is redrawn for good when it all took less than a tick.
func TestTTYFast(t *testing.T) {
	t.Parallel()
	s := newTerminal(t, 40, 5)
	s.events(event("Container", "demo-web-1", "Starting", api.PhaseWorking), event("Container", "demo-web-1", "Started", api.PhaseDone))
	s.d.Close()
	s.d.Above(func() { fmt.Fprintln(s, "log") })
	s.d.Close()
	s.expect(t, `
[+] up 1/1
 ✔ Container demo-web-1 Started    0.0s
log
`)
}

func TestTTYMoreThanTheScreen(t *testing.T) {
	t.Parallel()
	s := newTerminal(t, 40, 6)
	for i := range 9 {
		s.events(event("Container", fmt.Sprintf("demo-web-%d", i+1), "Started", api.PhaseDone))
	}
	s.events(event("Container", "demo-db-1", "Waiting", api.PhaseWorking))
	s.redraw(100 * time.Millisecond)
	s.redraw(100 * time.Millisecond)
	s.expect(t, `
[+] up 9/10
 ✔ Container demo-web-1 Started    0.0s
 ✔ Container demo-web-2 Started    0.0s
 ⠹ Container demo-db-1  Waiting    0.2s
 ... 7 more
`)
}

// A row that wrapped would throw the cursor's way back off by one, so none may, whatever the terminal's size.
func TestFramesFit(t *testing.T) {
	t.Parallel()
	var all tasks
	now := time.Unix(1000, 0)
	for _, e := range story() {
		if e.Kind == api.KindResource {
			all.apply(e, now)
		}
	}
	all.apply(pulling("registry.example/日本語/"+strings.Repeat("long", 20), 12_345_678, 99_999_999_999), now)
	for width := 1; width < 120; width++ {
		for height := 1; height < 12; height++ {
			lines := frame(&all, "up", width, height, false, now.Add(100*time.Hour))
			if len(lines) > height {
				t.Fatalf("%d rows on a terminal of %d", len(lines), height)
			}
			for _, l := range lines {
				if cells(l) > max(width-1, 1) {
					t.Fatalf("%q has %d cells on a terminal of %d", l, cells(l), width)
				}
			}
		}
	}
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	s := newTerminal(t, 30, 5)
	e := event("Container", "a-long-project-name-web-1", "Starting", api.PhaseWorking)
	e.Text = "for a reason"
	s.events(e)
	s.redraw(0)
	s.expect(t, `
[+] up 0/1
 ⠋ Container... Starting 0.0s
`)
}

func TestTTYLayers(t *testing.T) {
	t.Parallel()
	s := newTerminal(t, 60, 5)
	s.events(pullingLayer("nginx", "a", "Downloading", 500, 1000), pullingLayer("nginx", "b", "Already exists", 0, 0),
		pullingLayer("nginx", "c", "Waiting", 0, 0), pullingLayer("nginx", "d", "Downloading", 1, 4000), pullingLayer("nginx", "a", "Extracting", 1000, 1000))
	s.redraw(0)
	s.expect(t, `
[+] up 0/1
 ⠋ Image nginx Pulling [⣿⣿⠀⠀] 1.001kB / 5kB            0.0s
`)
}
