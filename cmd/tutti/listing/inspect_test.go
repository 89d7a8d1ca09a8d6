package listing

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	type object struct {
		ID   string `json:"Id"`
		Size int64
	}
	raw := json.RawMessage(`{"Id":"abc","Size":12345678901,"Extra":{"a":1}}`)
	for _, tt := range []struct{ format, want string }{
		{"{{.ID}}", "abc\n"},
		{"{{.Id}} {{.Size}}", "abc 12345678901\n"}, // the keys of the JSON, with their numbers
		{"{{json .Extra}}", "{\"a\":1}\n"},
		{"json", "{\"Id\":\"abc\",\"Size\":12345678901}\n"},
	} {
		var out bytes.Buffer
		if err := Inspect(&out, tt.format, raw, new(object)); err != nil || out.String() != tt.want {
			t.Errorf("%s: %q, %v", tt.format, out.String(), err)
		}
	}
	for _, format := range []string{"{{.Nope}}", "{{"} {
		if err := Inspect(&bytes.Buffer{}, format, raw, new(object)); err == nil || !strings.HasPrefix(err.Error(), "template parsing error") {
			t.Errorf("%s: %v", format, err)
		}
	}
}
