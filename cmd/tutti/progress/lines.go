package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"tutti/scheduler/api"
)

// plainLines writes a line when a resource enters a status; bytes that come in between say nothing new.
type plainLines struct {
	out  io.Writer
	seen map[string]string // id → last status and text
}

func (p *plainLines) resource(e api.Event) {
	if e.Layer != "" { // a line of its own, as docker compose has it
		p.resource(api.Event{Resource: "Image", Name: e.Name, Status: e.Status, Phase: e.Phase})
		if key := taskID(e) + "\x00" + e.Layer; p.seen[key] != e.Text {
			p.seen[key] = e.Text
			fmt.Fprintln(p.out, " "+e.Layer+"  "+e.Text)
		}
		return
	}
	id, state := taskID(e), e.Status+"\x00"+e.Text
	if e.Total > 0 {
		state = e.Status // a text that counts along with the bytes
	}
	if p.seen[id] == state {
		return
	}
	p.seen[id] = state
	line := " " + id + "  " + e.Status
	if e.Text != "" {
		line += " " + strings.ReplaceAll(e.Text, "\n", " ")
	}
	fmt.Fprintln(p.out, line)
}

func (p *plainLines) warning(text string) { fmt.Fprintln(p.out, "WARN "+text) }
func (p *plainLines) suspend()            {}
func (p *plainLines) resume()             {}
func (p *plainLines) close()              {}

// jsonLines writes every event as an object, with the fields of docker compose's JSON progress.
type jsonLines struct {
	out io.Writer
	now func() time.Time
}

type jsonEvent struct {
	ID      string `json:"id,omitempty"`
	Parent  string `json:"parent_id,omitempty"`
	Status  string `json:"status,omitempty"`
	Text    string `json:"text,omitempty"`
	Details string `json:"details,omitempty"`
	Current int64  `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Percent int    `json:"percent,omitempty"`
}

type jsonLog struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`
	Time  string `json:"time"`
}

func (j *jsonLines) resource(e api.Event) {
	percent := 0
	if e.Total > 0 {
		percent = int(min(e.Current, e.Total) * 100 / e.Total)
	}
	out := jsonEvent{
		ID: taskID(e), Status: phaseName(e.Phase), Text: e.Status, Details: e.Text,
		Current: e.Current, Total: e.Total, Percent: percent,
	}
	if e.Layer != "" {
		out.ID, out.Parent, out.Text, out.Details = e.Layer, out.ID, e.Text, ""
		if layerDone(e.Text) {
			out.Status = phaseName(api.PhaseDone)
		}
	}
	j.write(out)
}

func phaseName(p api.Phase) string {
	switch p {
	case api.PhaseDone:
		return "Done"
	case api.PhaseWarning:
		return "Warning"
	case api.PhaseError:
		return "Error"
	case api.PhaseWorking:
	}
	return "Working"
}

func (j *jsonLines) warning(text string) {
	j.write(jsonLog{Level: "warning", Msg: text, Time: j.now().Format(time.RFC3339)})
}

func (j *jsonLines) write(v any) {
	e := json.NewEncoder(j.out)
	e.SetEscapeHTML(false)
	e.Encode(v) //nolint:errcheck // strings and numbers; the stream's end is the reader's choice
}

func (j *jsonLines) suspend() {}
func (j *jsonLines) resume()  {}
func (j *jsonLines) close()   {}

// quiet shows nothing.
type quiet struct{}

func (quiet) resource(api.Event) {}
func (quiet) warning(string)     {}
func (quiet) suspend()           {}
func (quiet) resume()            {}
func (quiet) close()             {}
