// Package listing prints lists the way the docker and docker compose commands do: as a table, as JSON, or through a Go
// template (`--format`).
package listing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	clitabs "github.com/docker/cli/cli/command/formatter/tabwriter"
	"github.com/docker/cli/templates"
)

// Headers are the column titles of a kind of row, by the name of its field.
type Headers map[string]string

// Label makes `{{.Label "x"}}` a column titled x.
func (Headers) Label(name string) string {
	name = name[strings.LastIndex(name, ".")+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(name)
}

// Templated prints rows as docker's own listings do. format is "" or "table" for the table given, "json" for one object a
// line, "table TEMPLATE" for a table of one's own, or a template for each row. The fields of a row are what templates and
// the JSON show.
func Templated[T any](w io.Writer, format, table string, headers Headers, rows []T) error {
	text, isTable := strings.CutPrefix(format, "table")
	switch format {
	case "", "table":
		text, isTable = table, true
	case "json":
		text = "{{json .}}"
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.Trim(text, " "))
	tmpl, err := templates.Parse(text)
	if err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	var body bytes.Buffer
	for _, r := range rows {
		if err := tmpl.Execute(&body, r); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		body.WriteByte('\n')
	}
	if !isTable {
		_, err := body.WriteTo(w)
		return err
	}
	tw := clitabs.NewWriter(w, 10, 1, 3, ' ', 0)
	if err := tmpl.Funcs(templates.HeaderFunctions).Execute(tw, headers); err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	fmt.Fprintln(tw)
	if _, err := body.WriteTo(tw); err != nil {
		return err
	}
	return tw.Flush()
}

// Pretty prints rows as the listings of docker compose do that know no templates: format "", "table" or "pretty" is a table
// of cells under the titles, "json" one array. jsonEnd is what follows the array's newline: docker compose prints a second
// one for some.
func Pretty[T any](w io.Writer, format string, titles []string, rows []T, cells func(T) []string, jsonEnd string) error {
	switch strings.ToLower(format) {
	case "", "table", "pretty":
		tw := tabwriter.NewWriter(w, 20, 1, 3, ' ', 0)
		fmt.Fprintln(tw, strings.Join(titles, "\t"))
		for _, r := range rows {
			fmt.Fprintln(tw, strings.Join(cells(r), "\t"))
		}
		return tw.Flush()
	case "json":
		if rows == nil {
			rows = []T{}
		}
		if err := JSON(w, rows, ""); err != nil {
			return err
		}
		_, err := io.WriteString(w, jsonEnd)
		return err
	}
	return fmt.Errorf("format value %q could not be parsed: parsing failed", format)
}

// JSON prints v and a newline, indented by indent when that is not empty.
func JSON(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	return e.Encode(v)
}

// Columns prints rows of cells under one another.
func Columns(w io.Writer, rows [][]string) error {
	tw := clitabs.NewWriter(w, 0, 1, 3, ' ', 0)
	for _, r := range rows {
		if _, err := fmt.Fprintln(tw, strings.TrimRight(strings.Join(r, "\t"), "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}
