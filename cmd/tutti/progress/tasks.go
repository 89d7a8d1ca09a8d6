package progress

import (
	"slices"
	"time"

	"tutti/scheduler/api"
)

// task is the state of one row.
type task struct {
	id             string // "Container demo-web-1"
	status, text   string
	phase          api.Phase
	current, total int64 // bytes
	layers         []*layer
	started, ended time.Time
}

// layer is a part of an image that is being pulled.
type layer struct {
	id, text       string
	current, total int64
	done           bool
}

func (t *task) completed() bool { return t.phase != api.PhaseWorking && t.phase != "" }

// elapsed is how long the task ran, or has been running.
func (t *task) elapsed(now time.Time) time.Duration {
	if t.completed() {
		return t.ended.Sub(t.started)
	}
	return now.Sub(t.started)
}

// tasks holds the rows in the order in which they came. It reads no clock and draws nothing.
type tasks struct {
	rows []*task
	byID map[string]*task
	done int
}

func taskID(e api.Event) string { return e.Resource + " " + e.Name }

// apply takes one resource event. Bytes never go backwards while the status stays the same.
func (t *tasks) apply(e api.Event, now time.Time) {
	id := taskID(e)
	r, ok := t.byID[id]
	if !ok {
		if t.byID == nil {
			t.byID = map[string]*task{}
		}
		r = &task{id: id, started: now}
		t.byID[id] = r
		t.rows = append(t.rows, r)
	}
	if e.Layer != "" {
		r.layer(e)
		e.Text, e.Current, e.Total = "", 0, 0
	}
	was := r.completed()
	if r.status != e.Status {
		r.current, r.total = 0, 0
	}
	r.status, r.text, r.phase = e.Status, e.Text, e.Phase
	r.current, r.total = max(r.current, e.Current), max(r.total, e.Total)
	switch is := r.completed(); {
	case is && !was:
		r.ended = now
		t.done++
	case !is && was:
		t.done--
	}
}

// layer takes what an event says about a part. A part begins to count anew when it goes from one text to the next, from
// download to extraction.
func (t *task) layer(e api.Event) {
	i := slices.IndexFunc(t.layers, func(l *layer) bool { return l.id == e.Layer })
	if i < 0 {
		i = len(t.layers)
		t.layers = append(t.layers, &layer{id: e.Layer})
	}
	l := t.layers[i]
	if l.text != e.Text {
		l.text, l.current, l.total = e.Text, 0, 0
	}
	l.current, l.total = max(l.current, e.Current), max(l.total, e.Total)
	l.done = layerDone(e.Text)
}

// layerDone says whether docker's words for the state of a layer are the last about it.
func layerDone(text string) bool {
	switch text {
	case "Pull complete", "Already exists", "Pushed", "Layer already exists":
		return true
	}
	return false
}
