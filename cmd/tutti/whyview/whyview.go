// Package whyview prints the engine's explanation of a project's state for people.
package whyview

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/docker/go-units"

	"tutti/scheduler/api"
)

// Print prints a report: a paragraph for every service that is not as it should be, and for the others a line. With all
// the others get a paragraph, too.
func Print(out io.Writer, report api.Why, all bool) error {
	var b bytes.Buffer
	width := 0
	for _, s := range report.Services {
		width = max(width, len(s.Service))
	}
	for _, s := range report.Services {
		fmt.Fprintf(&b, "%-*s  %s: %s\n", width, s.Service, s.Verdict, firstLine(s.Summary))
		well := s.Verdict == api.VerdictOK || s.Verdict == api.VerdictAbsent
		if !well || all {
			p := printer{out: &b, now: report.At, indent: "    "}
			p.service(s, well)
		}
	}
	for _, note := range report.Notes {
		fmt.Fprintf(&b, "firewall: %s\n", firstLine(note))
	}
	_, err := b.WriteTo(out)
	return err
}

// printer writes the paragraph of one service.
type printer struct {
	out    *bytes.Buffer
	now    time.Time
	indent string
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p.out, p.indent+format+"\n", args...)
}

// under prints a text of several lines, each further in.
func (p *printer) under(text string) {
	for l := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(p.out, "%s    %s\n", p.indent, printable(strings.TrimRight(l, "\r\n")))
	}
}

func (p *printer) service(s api.ServiceWhy, well bool) {
	if f := s.Failure; f != nil {
		p.line("`%s` failed for it %s:", f.Verb, p.ago(f.At))
		p.under(f.Text)
	}
	if s.ImageMissing {
		p.line("its image %s is not here", s.Image)
	}
	for _, d := range s.Doing {
		p.line("going on for %s: %s", short(p.now.Sub(d.Since)), d.What)
	}
	for _, w := range s.Waits {
		p.wait(w)
	}
	for _, h := range s.Ports {
		whose := ""
		if h.Project != "" {
			whose = fmt.Sprintf(" (service %s of project %s)", h.Service, h.Project)
		}
		p.line("port %s of the host is held by %s%s", h.Port, h.Holder, whose)
	}
	for _, c := range s.Containers {
		p.container(c, s.Summary, well)
	}
	p.path(s)
}

func (p *printer) wait(w api.Wait) {
	word := map[string]string{"service_started": "started", "service_healthy": "healthy", "service_completed_successfully": "completed"}[w.Condition]
	state, optional := "no", ""
	if w.Met {
		state = "yes"
	}
	if w.Optional {
		optional = ", not required"
	}
	p.line("depends on %s to be %s: %s (%s%s)", w.Service, word, state, w.State, optional)
}

func (p *printer) container(c api.ContainerWhy, told string, well bool) {
	if c.Summary == told {
		p.line("container %s: %s", c.Name, c.Status)
	} else {
		p.line("container %s: %s: %s", c.Name, c.Status, firstLine(c.Summary))
	}
	inner := *p
	inner.indent += "  "
	if strings.Contains(c.Error, "\n") {
		inner.under(c.Error)
	}
	inner.ended(c, told)
	if o := c.OOM; o != nil {
		inner.line("the kernel has killed %d of its processes for want of memory: %s", o.Kills, memory(o))
	}
	if len(c.Probes) > 0 {
		inner.line("last probes:")
		for _, r := range c.Probes {
			code := fmt.Sprintf("ended with %d", r.Code)
			if r.Code < 0 {
				code = "did not end"
			}
			inner.line("  %s  %s after %s", r.At.Local().Format(time.TimeOnly), code, short(r.Took))
			if !well || r.Code != 0 {
				inner.under(r.Output)
			}
		}
	}
	if len(c.Log) > 0 && !well {
		inner.line("last lines:")
		for _, l := range c.Log {
			inner.line("  %s | %s", l.At.Local().Format(time.TimeOnly), printable(l.Text))
		}
	}
}

// ended tells how runs ended, and what the restart policy makes of it.
func (p *printer) ended(c api.ContainerWhy, told string) {
	tell := func(what string, e *api.Exit) {
		if e == nil {
			return
		}
		p.line("%s ended with exit code %d at %s, after %s", what, e.Code, e.At.Local().Format(time.DateTime), short(e.Ran))
		if !strings.Contains(told, e.Cause) {
			p.line("  %s", e.Cause)
		}
		if e.OOM != nil {
			p.line("memory: %s", memory(e.OOM))
		}
		if a := e.Asked; a != nil {
			p.line("asked to end by `%s` with %s at %s", a.By, a.Signal, a.At.Local().Format(time.TimeOnly))
		}
	}
	tell("it", c.Exit)
	tell("the run before", c.Previous)
	r := c.Restart
	if r == nil {
		return
	}
	of := ""
	if r.Max > 0 {
		of = fmt.Sprintf(" of %d", r.Max)
	}
	text := fmt.Sprintf("restart policy %s: %d%s restarts so far", r.Policy, r.Count, of)
	switch {
	case !r.Next.IsZero():
		text += fmt.Sprintf(", the next in %s, at %s", short(max(r.Next.Sub(p.now), 0)), r.Next.Local().Format(time.TimeOnly))
	case r.GaveUp:
		text += ", no more"
	}
	p.line("%s", text)
}

// path prints what a start spent its time on.
func (p *printer) path(s api.ServiceWhy) {
	if len(s.Path) == 0 {
		return
	}
	last := s.Path[len(s.Path)-1]
	p.line("its last start took %s:", short(last.After+last.Took))
	for _, step := range s.Path {
		p.line("  %8s  %s", short(step.Took), step.What)
	}
}

func (p *printer) ago(t time.Time) string {
	return strings.ToLower(units.HumanDuration(p.now.Sub(t))) + " ago"
}

func memory(o *api.OOM) string {
	text := "no limit but the host's"
	if o.Limit > 0 {
		text = "limit " + units.BytesSize(float64(o.Limit))
	}
	if o.Peak > 0 {
		text += ", at most in use " + units.BytesSize(float64(o.Peak))
	}
	return text
}

// short is a duration with two or three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// printable keeps what a container wrote from moving the cursor of whoever reads this.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
