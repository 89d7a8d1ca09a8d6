package planview

import (
	"fmt"
	"strconv"
	"strings"

	"tutti/scheduler/api"
)

const (
	widest   = 72 // characters of a value that are shown
	idDigits = 12
)

// differences prints the fields that differ, each in a line.
func (v *viewer) differences(indent string, all []api.Difference) {
	width := 0
	for _, d := range all {
		width = max(width, min(len(d.Field), 40))
	}
	for _, d := range all {
		field := fmt.Sprintf("%-*s", width, d.Field)
		switch d.Change {
		case api.ChangeAdded:
			v.line(indent, "+", strings.TrimRight(field+"  "+join(value(d.After, d.Hidden), note(d)), " "))
		case api.ChangeRemoved:
			v.line(indent, "-", strings.TrimRight(field+"  "+join(value(d.Before, d.Hidden), note(d)), " "))
		case api.ChangeChanged:
			v.line(indent, "~", strings.TrimRight(field+"  "+changed(d), " "))
		}
	}
}

func note(d api.Difference) string {
	if d.Note == "" {
		return ""
	}
	return "(" + d.Note + ")"
}

func join(a, b string) string { return strings.TrimSpace(a + " " + b) }

// changed shows both values, or of texts of several lines the first line that differs.
func changed(d api.Difference) string {
	switch {
	case d.Before == nil && d.After == nil && d.Hidden && d.Note == "":
		return "(hidden) -> (hidden), another one"
	case d.Before == nil && d.After == nil && d.Note != "":
		return note(d)
	case d.Before != nil && d.After != nil && d.Hidden && *d.Before == *d.After:
		return quoted(*d.Before) + ", in what is hidden (***)"
	case d.Before != nil && d.After != nil && strings.Contains(*d.Before+*d.After, "\n"):
		return lines(*d.Before, *d.After)
	case d.Note != "":
		return join(value(d.Before, d.Hidden), note(d))
	}
	return value(d.Before, d.Hidden) + " -> " + value(d.After, d.Hidden)
}

// value is a value as it is shown. One that is not there is a variable without a value, or hidden.
func value(s *string, hidden bool) string {
	switch {
	case s != nil:
		return quoted(*s)
	case hidden:
		return "(hidden)"
	}
	return "(no value)"
}

// quoted is a text in quotes, cut at the end of its first line. The id of an image is shown as everywhere.
func quoted(s string) string {
	if id, ok := strings.CutPrefix(s, "sha256:"); ok && len(id) > idDigits {
		return id[:idDigits]
	}
	first, rest, more := strings.Cut(s, "\n")
	text := cut(first)
	if more && rest != "" {
		text += fmt.Sprintf(" (and %s)", plural(strings.Count(strings.TrimSuffix(rest, "\n"), "\n")+1, "more line"))
	}
	return text
}

func cut(s string) string {
	runes := []rune(s)
	if len(runes) <= widest {
		return strconv.Quote(s)
	}
	return strconv.Quote(string(runes[:widest])) + fmt.Sprintf(" (and %d more characters)", len(runes)-widest)
}

// lines shows of two texts the first line that differs.
func lines(before, after string) string {
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := range max(len(was), len(is)) {
		switch {
		case i >= len(was):
			return fmt.Sprintf("from line %d on: + %s", i+1, cut(is[i]))
		case i >= len(is):
			return fmt.Sprintf("from line %d on: - %s", i+1, cut(was[i]))
		case was[i] != is[i]:
			return fmt.Sprintf("line %d: %s -> %s", i+1, cut(was[i]), cut(is[i]))
		}
	}
	return "" // they do not differ
}
