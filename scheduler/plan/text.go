package plan

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
)

// String is the plan as a table, one operation a line: its number, what it does, to
// what, why, and the numbers of the operations that it waits for. The same plan gives
// the same text.
func (p *Plan) String() string {
	var b strings.Builder
	number := make(map[string]int, len(p.Ops))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i, op := range p.Ops {
		number[op.ID] = i + 1
		after := make([]string, len(op.After))
		for j, id := range op.After {
			after[j] = strconv.Itoa(number[id])
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t", i+1, op.Kind, op.Subject(), op.Cause)
		if len(after) > 0 {
			fmt.Fprintf(w, "after %s", strings.Join(after, ", "))
		}
		fmt.Fprintln(w)
	}
	// Writing to a strings.Builder cannot fail.
	_ = w.Flush()
	text := trimLines(b.String())
	if len(p.Ops) == 0 {
		text = "nothing to do\n"
	}
	if p.Replan {
		text += "then: compare the containers with the new images\n"
	}
	for _, note := range p.Notes {
		text += "note: " + note + "\n"
	}
	return text
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// shortID shortens image ids for people.
func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
