package build

import (
	"slices"
	"time"

	"github.com/moby/buildkit/client"
)

// transcript is what a build has shown: of each step and of each part of one the last that was said.
type transcript struct {
	steps    []*client.Vertex
	parts    []*client.VertexStatus
	warnings []*client.VertexWarning
	printed  bool // a step had output

	index map[string]int // of steps by digest, of parts by their steps' and their own names
}

func (t *transcript) add(s *client.SolveStatus) {
	if t.index == nil {
		t.index = map[string]int{}
	}
	for _, v := range s.Vertexes {
		if i, ok := t.index[v.Digest.String()]; ok {
			t.steps[i] = v
			continue
		}
		t.index[v.Digest.String()] = len(t.steps)
		t.steps = append(t.steps, v)
	}
	for _, p := range s.Statuses {
		key := p.Vertex.String() + " " + p.ID
		if i, ok := t.index[key]; ok {
			t.parts[i] = p
			continue
		}
		t.index[key] = len(t.parts)
		t.parts = append(t.parts, p)
	}
	t.warnings = append(t.warnings, s.Warnings...)
	t.printed = t.printed || len(s.Logs) > 0
}

// allCached tells whether every step came from the cache. What has no inputs is no step: sources, which are looked at each
// time, and what is done with the result.
func (t *transcript) allCached() bool {
	return !t.printed && !slices.ContainsFunc(t.steps, func(v *client.Vertex) bool {
		return v.Error != "" || v.Completed == nil || len(v.Inputs) > 0 && !v.Cached
	})
}

// replay is the same again, ending now. Steps ended in the order in which they are shown.
func (t *transcript) replay(now time.Time) *client.SolveStatus {
	s := &client.SolveStatus{Warnings: t.warnings}
	steps := slices.SortedStableFunc(slices.Values(t.steps), func(a, b *client.Vertex) int { return a.Completed.Compare(*b.Completed) })
	for i, v := range steps {
		again, at := *v, now.Add(time.Duration(i-len(steps))*time.Microsecond)
		again.Started, again.Completed = &at, &at
		s.Vertexes = append(s.Vertexes, &again)
	}
	for _, p := range t.parts {
		again := *p
		again.Timestamp, again.Started, again.Completed = now, &now, &now
		s.Statuses = append(s.Statuses, &again)
	}
	return s
}
