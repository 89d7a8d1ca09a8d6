package logview

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"tutti/scheduler/api"
)

func frame(service, stream, line string) api.LogFrame {
	return api.LogFrame{
		Container: "demo-" + service + "-1", Service: service, Number: 1, Stream: stream, Line: []byte(line),
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}
}

func exit(service string, code int, restart bool) api.LogFrame {
	f := frame(service, "", "")
	f.Event, f.ExitCode, f.Restart = "exit", code, restart
	return f
}

func TestPrinter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		o        Options
		expect   []string
		frames   []api.LogFrame
		out, err string
	}{
		{
			"prefixes are aligned from the start when the names are known",
			Options{},
			[]string{"web-1", "database-1"},
			[]api.LogFrame{frame("web", "stdout", "a\n"), frame("database", "stdout", "b\n")},
			"web-1       | a\ndatabase-1  | b\n", "",
		},
		{
			"a longer name widens the prefixes that follow",
			Options{},
			nil,
			[]api.LogFrame{frame("web", "stdout", "a\n"), frame("database", "stdout", "b\n"), frame("web", "stdout", "c\n")},
			"web-1  | a\ndatabase-1  | b\nweb-1       | c\n", "",
		},
		{
			"stderr is apart",
			Options{},
			nil,
			[]api.LogFrame{frame("web", "stdout", "a\n"), frame("web", "stderr", "b\n")},
			"web-1  | a\n", "web-1  | b\n",
		},
		{"no prefix", Options{NoPrefix: true}, nil, []api.LogFrame{frame("web", "stdout", "a\n")}, "a\n", ""},
		{
			"timestamps",
			Options{Timestamps: true},
			nil,
			[]api.LogFrame{frame("web", "stdout", "a\n")},
			"web-1  | 2026-01-02T03:04:05.000006000Z a\n", "",
		},
		{
			"colours are given out in turn",
			Options{Color: true, Erase: true},
			[]string{"web-1", "db-1"},
			[]api.LogFrame{frame("db", "stdout", "a\n"), exit("web", 0, false)},
			"\x1b[33mdb-1   | \x1b[0ma\n\x1b[36m\r\x1b[Kweb-1 exited with code 0\n\x1b[0m", "",
		},
		{
			"an unterminated last line is shown before the exit",
			Options{},
			nil,
			[]api.LogFrame{frame("web", "stdout", "no newline"), exit("web", 3, false)},
			"web-1  | no newline\nweb-1 exited with code 3\n", "",
		},
		{"an unterminated last line is shown at the end", Options{}, nil, []api.LogFrame{frame("web", "stdout", "end")}, "web-1  | end\n", ""},
		{
			"the parts of a line are one line",
			Options{},
			nil,
			[]api.LogFrame{frame("web", "stdout", "a"), frame("db", "stdout", "x\n"), frame("web", "stdout", "b\n")},
			"db-1   | x\nweb-1  | ab\n", "",
		},
		{"restarting", Options{}, nil, []api.LogFrame{exit("web", 1, true)}, "web-1 exited with code 1 (restarting)\n", ""},
		{"a line of two", Options{}, nil, []api.LogFrame{frame("web", "stdout", "a\nb\n")}, "web-1  | a\nweb-1  | b\n", ""},
		{"an empty line", Options{}, nil, []api.LogFrame{frame("web", "stdout", "\n")}, "web-1  | \n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, err bytes.Buffer
			c.o.Project, c.o.Out, c.o.Err = "demo", &out, &err
			p := New(c.o)
			p.Expect(c.expect...)
			for _, f := range c.frames {
				if f.Event == "exit" {
					p.Exit(f)
				} else {
					p.Line(f)
				}
			}
			p.Flush()
			if out.String() != c.out || err.String() != c.err {
				t.Errorf("out %q, err %q; want %q, %q", out.String(), err.String(), c.out, c.err)
			}
		})
	}
}

// A container that never ends its line must not eat the memory.
func TestEndlessLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := New(Options{Project: "demo", Out: &out, Err: &out})
	for range 100 {
		p.Line(frame("web", "stdout", strings.Repeat("x", 4<<10)))
	}
	if out.Len() < 300<<10 {
		t.Errorf("%d bytes of 400 KiB are out", out.Len())
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ container, want string }{{"demo-web-2", "web-2"}, {"my-own-name", "my-own-name"}, {"demo-web-3", "demo-web-3"}} {
		if got := Name("demo", "web", c.container, 2); got != c.want {
			t.Errorf("Name(%q) = %q, want %q", c.container, got, c.want)
		}
	}
}
