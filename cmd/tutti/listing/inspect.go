package listing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/docker/cli/templates"
)

// Inspect prints an object that the engine describes as JSON through a template, as docker's inspect does: with the fields
// of docker's type where typed, a pointer to one, can take it, otherwise with the keys of the JSON. "json" is all of it.
func Inspect(w io.Writer, format string, raw json.RawMessage, typed any) error {
	if format == "json" {
		format = "{{json .}}"
	}
	tmpl, err := templates.Parse(format)
	if err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	tmpl = tmpl.Option("missingkey=error")
	var out bytes.Buffer
	if err = json.Unmarshal(raw, typed); err == nil {
		err = tmpl.Execute(&out, typed)
	}
	if err != nil {
		var keys any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		out.Reset()
		if decoder.Decode(&keys) != nil || tmpl.Execute(&out, keys) != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(w)
	return err
}
