// Package planview prints for people what `up` would change.
package planview

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"tutti/scheduler/api"
)

// Print prints a plan: a line for everything that would be changed, with the fields that differ below it, the order, and a
// summary. What stays is named together.
func Print(out io.Writer, p api.Plan, color bool) error {
	v := &viewer{color: color}
	v.images(p.Images)
	v.resources("Networks", p.Networks)
	v.resources("Volumes", p.Volumes)
	v.services(p.Services)
	v.order(p.Order)
	for _, note := range p.Notes {
		fmt.Fprintf(&v.b, "Note: %s\n", printable(note))
	}
	v.summary(p)
	_, err := v.b.WriteTo(out)
	return err
}

type viewer struct {
	b     bytes.Buffer
	color bool
}

// signs are what lines begin with.
var signs = map[api.Action]string{
	api.ActionCreate: "+", api.ActionRecreate: "~", api.ActionStart: ">", api.ActionRestart: "~", api.ActionStop: "-", api.ActionRemove: "-",
	api.ActionPull: "+", api.ActionBuild: "+", api.ActionUnchanged: "=", api.ActionUnknown: "?",
}

// colors are those of the signs, as in a diff.
var colors = map[string]string{"+": "32", "~": "33", ">": "32", "-": "31", "?": "36"}

// line prints a line behind its sign, in its colour.
func (v *viewer) line(indent, sign, text string) {
	text = sign + " " + printable(text)
	if c := colors[sign]; v.color && c != "" {
		text = "\x1b[" + c + "m" + text + "\x1b[0m"
	}
	v.b.WriteString(indent + text + "\n")
}

// act is what happens, and why.
func act(action api.Action, cause string) string {
	switch {
	case action == api.ActionUnknown: // the cause begins with what may happen
		return cause
	case cause != "":
		return string(action) + ": " + cause
	}
	return string(action)
}

// heading begins a section.
func (v *viewer) heading(text string) {
	if v.color {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	v.b.WriteString(text + "\n")
}

func (v *viewer) images(all []api.PlannedImage) {
	if !slices.ContainsFunc(all, func(i api.PlannedImage) bool { return i.Action != api.ActionUnchanged }) {
		return
	}
	v.heading("Images")
	var same []string
	for _, i := range all {
		if i.Action == api.ActionUnchanged {
			same = append(same, i.Name)
			continue
		}
		text := i.Name + "  " + act(i.Action, i.Cause)
		if i.ID != "" {
			text += "; whether it differs from the one that is here is not known"
		}
		v.line("  ", signs[i.Action], text)
	}
	v.same("  ", same)
}

// mostNamed is how many of the things that stay as they are are named; the JSON form has all of them.
const mostNamed = 12

// same names what stays as it is.
func (v *viewer) same(indent string, names []string) {
	if len(names) == 0 {
		return
	}
	text := "unchanged: " + strings.Join(names[:min(mostNamed, len(names))], ", ")
	if more := len(names) - mostNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	v.line(indent, "=", text)
}

func (v *viewer) resources(heading string, all []api.PlannedResource) {
	if !slices.ContainsFunc(all, func(r api.PlannedResource) bool { return r.Action != api.ActionUnchanged }) {
		return
	}
	v.heading(heading)
	var same []string
	for _, r := range all {
		if r.Action == api.ActionUnchanged {
			same = append(same, r.Name)
			continue
		}
		v.line("  ", signs[r.Action], r.Name+"  "+act(r.Action, r.Cause))
		v.differences("      ", r.Differences)
	}
	v.same("  ", same)
}

func (v *viewer) services(all []api.PlannedService) {
	var same []string
	begun := false
	for _, s := range all {
		var stay []string
		changed := false
		for _, c := range s.Containers {
			if c.Action != api.ActionUnchanged {
				changed = true
				continue
			}
			name := c.Name
			if c.Cause != "" {
				name += " (" + strings.TrimPrefix(c.Cause, "is ") + ")"
			}
			stay = append(stay, name)
		}
		if !changed {
			if !s.Orphan { // of which a note tells
				same = append(same, stay...)
			}
			continue
		}
		if !begun {
			v.heading("Services")
			begun = true
		}
		v.service(s, stay)
	}
	if len(same) > 0 && !begun {
		v.heading("Services")
	}
	v.same("  ", same)
}

func (v *viewer) service(s api.PlannedService, stay []string) {
	text := "  " + printable(s.Name)
	if s.Orphan {
		text += "  not in the compose file"
	}
	if s.Before != s.After && s.Before > 0 && s.After > 0 {
		text += fmt.Sprintf("  scale %d -> %d", s.Before, s.After)
	}
	v.b.WriteString(text + "\n")
	for _, c := range s.Containers {
		if c.Action == api.ActionUnchanged {
			continue
		}
		name := c.Name
		if c.NewName != "" {
			name += " -> " + c.NewName
		}
		what := act(c.Action, c.Cause)
		if (c.Action == api.ActionCreate || c.Action == api.ActionRecreate) && !c.Starts {
			what += "; it is not started"
		}
		v.line("    ", signs[c.Action], name+"  "+what)
		v.differences("        ", c.Differences)
	}
	v.same("    ", stay)
}

// order prints what goes on at the same time in one line, for each operation the things that it is done to.
func (v *viewer) order(rounds [][]api.PlannedStep) {
	if len(rounds) == 0 {
		return
	}
	v.heading("Order")
	for i, round := range rounds {
		var kinds []string
		subjects := map[string][]string{}
		for _, s := range round {
			if subjects[s.Operation] == nil {
				kinds = append(kinds, s.Operation)
			}
			subjects[s.Operation] = append(subjects[s.Operation], s.Subject)
		}
		for j, kind := range kinds {
			kinds[j] = strings.TrimSuffix(kind, " condition") + " " + strings.Join(subjects[kind], ", ")
		}
		fmt.Fprintf(&v.b, "  %d. %s\n", i+1, printable(strings.Join(kinds, "; ")))
	}
}

// summary is the last line.
func (v *viewer) summary(p api.Plan) {
	if p.Changes == 0 {
		fmt.Fprintf(&v.b, "Nothing would change: project %s is as its compose file says.\n", printable(p.Project))
		return
	}
	var parts []string
	count := func(what string, actions []api.Action) {
		for _, action := range []api.Action{
			api.ActionPull, api.ActionBuild, api.ActionCreate, api.ActionRecreate, api.ActionStart, api.ActionRestart, api.ActionStop, api.ActionRemove, api.ActionUnknown,
		} {
			n := 0
			for _, a := range actions {
				if a == action {
					n++
				}
			}
			switch {
			case n == 0:
			case action == api.ActionUnknown:
				parts = append(parts, plural(n, what)+" perhaps")
			default:
				parts = append(parts, fmt.Sprintf("%s to %s", plural(n, what), action))
			}
		}
	}
	var images, networks, volumes, containers []api.Action
	for _, i := range p.Images {
		images = append(images, i.Action)
	}
	for _, n := range p.Networks {
		networks = append(networks, n.Action)
	}
	for _, n := range p.Volumes {
		volumes = append(volumes, n.Action)
	}
	for _, s := range p.Services {
		for _, c := range s.Containers {
			containers = append(containers, c.Action)
		}
	}
	count("image", images)
	count("network", networks)
	count("volume", volumes)
	count("container", containers)
	fmt.Fprintf(&v.b, "Plan: %s.\n", strings.Join(parts, ", "))
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// printable keeps what a file says from moving the cursor of whoever reads this.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
