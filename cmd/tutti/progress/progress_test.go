package progress

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"

	"tutti/scheduler/api"
)

func event(resource, name, status string, phase api.Phase) api.Event {
	return api.Event{Kind: api.KindResource, Resource: resource, Name: name, Status: status, Phase: phase}
}

func pulling(name string, current, total int64) api.Event {
	e := event("Image", name, "Pulling", api.PhaseWorking)
	e.Current, e.Total = current, total
	return e
}

func pullingLayer(name, layer, text string, current, total int64) api.Event {
	e := pulling(name, current, total)
	e.Layer, e.Text = layer, text
	return e
}

// story is what the engine says during a small `up`.
func story() []api.Event {
	failed := event("Container", "demo-db-1", "Error", api.PhaseError)
	failed.Text = "exited with code 1\nsecond line"
	return []api.Event{
		pulling("nginx", 0, 1000), pulling("nginx", 500, 1000),
		event("Image", "nginx", "Pulled", api.PhaseDone),
		event("Network", "demo_default", "Creating", api.PhaseWorking),
		event("Network", "demo_default", "Created", api.PhaseDone),
		{Kind: api.KindWarning, Text: "the key `x` has no effect"},
		event("Container", "demo-web-1", "Starting", api.PhaseWorking),
		event("Container", "demo-web-1", "Started", api.PhaseDone),
		failed,
		{Kind: api.KindEnd, Error: "no"},
	}
}

func show(t *testing.T, o Options, events []api.Event) string {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	o.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	d := New(t.Context(), o)
	for _, e := range events {
		d.Event(e)
	}
	d.Close()
	d.Close()
	return out.String()
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"plain", Options{Mode: Plain}, ` Image nginx  Pulling
 Image nginx  Pulled
 Network demo_default  Creating
 Network demo_default  Created
WARN the key ` + "`x`" + ` has no effect
 Container demo-web-1  Starting
 Container demo-web-1  Started
 Container demo-db-1  Error exited with code 1 second line
`},
		{"json", Options{Mode: JSON}, `{"id":"Image nginx","status":"Working","text":"Pulling","total":1000}
{"id":"Image nginx","status":"Working","text":"Pulling","current":500,"total":1000,"percent":50}
{"id":"Image nginx","status":"Done","text":"Pulled"}
{"id":"Network demo_default","status":"Working","text":"Creating"}
{"id":"Network demo_default","status":"Done","text":"Created"}
{"level":"warning","msg":"the key ` + "`x`" + ` has no effect","time":"2026-01-02T03:04:05Z"}
{"id":"Container demo-web-1","status":"Working","text":"Starting"}
{"id":"Container demo-web-1","status":"Done","text":"Started"}
{"id":"Container demo-db-1","status":"Error","text":"Error","details":"exited with code 1\nsecond line"}
`},
		{"quiet", Options{Mode: Quiet}, ""},
		{"quiet pull", Options{Mode: JSON, QuietPull: true}, `{"id":"Image nginx","status":"Working","text":"Pulling"}
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			events := story()
			if c.o.QuietPull {
				events = events[1:2]
			}
			if got := show(t, c.o, events); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		progress, ansi string
		terminal       bool
		want           Mode
		err            string
	}{
		{"", "auto", true, TTY, ""},
		{"auto", "auto", false, Plain, ""},
		{"auto", "never", true, Plain, ""},
		{"tty", "auto", false, TTY, ""},
		{"tty", "never", true, "", "can't use --progress tty"},
		{"plain", "always", true, "", "can't use --progress plain"},
		{"json", "auto", true, JSON, ""},
		{"quiet", "auto", true, Quiet, ""},
		{"none", "auto", true, Quiet, ""},
		{"fancy", "auto", true, "", `unsupported --progress value "fancy"`},
	} {
		got, err := Resolve(c.progress, c.ansi, c.terminal)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Resolve(%q, %q, %v) = %q, %v", c.progress, c.ansi, c.terminal, got, err)
		}
	}
}

func step(name, d string, done bool) *client.SolveStatus {
	start := time.Unix(100, 0)
	v := &client.Vertex{Digest: digest.FromString(d), Name: name, Started: &start}
	if done {
		end := start.Add(time.Second)
		v.Completed = &end
	}
	return &client.SolveStatus{Vertexes: []*client.Vertex{v}}
}

// Two builds that share a step are two steps on the screen, each under its image, and what comes after the last of them
// comes below.
func TestBuildsShareOneDisplay(t *testing.T) {
	t.Parallel()
	var events []api.Event
	for _, done := range []bool{false, true} {
		for _, image := range []string{"demo-web", "demo-api"} {
			events = append(events, api.Event{Kind: api.KindBuild, Name: image, Build: step("[1/2] FROM debian", "same", done)})
		}
	}
	events = append(events, event("Image", "demo-web", "Built", api.PhaseDone), event("Image", "demo-api", "Built", api.PhaseDone),
		event("Container", "demo-web-1", "Created", api.PhaseDone))
	got := show(t, Options{Mode: Plain}, events)
	for _, want := range []string{"[demo-web 1/2] FROM debian", "[demo-api 1/2] FROM debian"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not there once in\n%s", want, got)
		}
	}
	if !strings.HasSuffix(got, " Container demo-web-1  Created\n") {
		t.Errorf("the container does not come last in\n%s", got)
	}
	if got := show(t, Options{Mode: Plain, QuietBuild: true}, events); strings.Contains(got, "FROM") {
		t.Errorf("--quiet-build shows\n%s", got)
	}
}

// A verb that is cancelled in the middle of a build must not leave the display hanging.
func TestBuildCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	d := New(ctx, Options{Mode: Plain, Out: &bytes.Buffer{}})
	d.Event(api.Event{Kind: api.KindBuild, Name: "x", Build: step("a", "a", false)})
	cancel()
	for range 10 {
		d.Event(api.Event{Kind: api.KindBuild, Name: "x", Build: step("b", "b", false)})
	}
	d.Close()
}

func TestLayers(t *testing.T) {
	t.Parallel()
	events := []api.Event{
		pullingLayer("nginx", "aaaa", "Downloading", 10, 100), pullingLayer("nginx", "aaaa", "Downloading", 50, 100),
		pullingLayer("nginx", "bbbb", "Already exists", 0, 0), event("Image", "nginx", "Pulled", api.PhaseDone),
	}
	for mode, want := range map[Mode]string{
		Plain: " Image nginx  Pulling\n aaaa  Downloading\n bbbb  Already exists\n Image nginx  Pulled\n",
		JSON: `{"id":"aaaa","parent_id":"Image nginx","status":"Working","text":"Downloading","current":10,"total":100,"percent":10}
{"id":"aaaa","parent_id":"Image nginx","status":"Working","text":"Downloading","current":50,"total":100,"percent":50}
{"id":"bbbb","parent_id":"Image nginx","status":"Done","text":"Already exists"}
{"id":"Image nginx","status":"Done","text":"Pulled"}
`,
	} {
		if got := show(t, Options{Mode: mode}, events); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", mode, got, want)
		}
	}
}
