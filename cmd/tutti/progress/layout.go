package progress

import (
	"fmt"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/mattn/go-runewidth"

	"tutti/scheduler/api"
)

const (
	margin    = 3  // " ✔ "
	minID     = 10 // cells an id keeps at least on a narrow terminal
	maxStatus = 20 // cells kept free for the status; a longer one gives way to the id
	barCells  = 10
)

var (
	spinner = [...]string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}
	fill    = [...]string{"⠀", "⡀", "⣀", "⣄", "⣤", "⣦", "⣶", "⣷", "⣿"}
)

// part is a piece of a line: its width is measured without the style.
type part struct {
	text  string
	style style
}

// frame lays the whole block out for a terminal of that size: one string a terminal row, each at most width-1 cells, so
// that no row ever wraps and the cursor finds its way back, and never more rows than fit on the screen.
func frame(t *tasks, operation string, width, height int, color bool, now time.Time) []string {
	width = max(width-1, 1)
	lines := []string{join([]part{{text: fmt.Sprintf("[+] %s %d/%d", operation, t.done, len(t.rows))}}, width, color)}
	rows, more := visible(t.rows, max(height-2, 1))
	left, timers := 0, make([]string, len(rows))
	timer, status := 0, 0
	for i, r := range rows {
		timers[i] = fmt.Sprintf("%.1fs", r.elapsed(now).Seconds())
		timer = max(timer, len(timers[i]))
		left = max(left, cells(r.id))
		status = max(status, cells(statusText(r)))
	}
	left = min(left, max(width-margin-min(status, maxStatus)-2-timer, minID))
	for i, r := range rows {
		lines = append(lines, join(row(r, left, fmt.Sprintf("%*s", timer, timers[i]), width, now), width, color))
	}
	if more > 0 {
		lines = append(lines, join([]part{{text: fmt.Sprintf(" ... %d more", more)}}, width, color))
	}
	return lines[:min(len(lines), max(height, 1))]
}

// visible chooses at most n rows, the last of which is then the count of those left out. Rows that still work or have
// failed are shown before those that are done.
func visible(rows []*task, n int) (shown []*task, more int) {
	if len(rows) <= n {
		return rows, 0
	}
	n = max(n-1, 0)
	keep := make(map[*task]bool, n)
	for _, wanted := range []bool{true, false} {
		for _, r := range rows {
			if len(keep) < n && (r.phase != api.PhaseDone) == wanted {
				keep[r] = true
			}
		}
	}
	for _, r := range rows {
		if keep[r] {
			shown = append(shown, r)
		}
	}
	return shown, len(rows) - len(shown)
}

// row lays one task out. When space is short the details go first, then the status is cut.
func row(r *task, left int, timer string, width int, now time.Time) []part {
	glyph, glyphStyle := glyph(r, now)
	id := cut(r.id, left)
	parts := []part{{text: " "}, {glyph, glyphStyle}, {text: " " + id + strings.Repeat(" ", left-cells(id)+1)}}
	used := margin + left + 1
	room := func() int { return width - used - cells(timer) - 1 }
	add := func(text string, s style) {
		parts = append(parts, part{text, s})
		used += cells(text)
	}
	if n := room(); n > 0 {
		add(cut(statusText(r), n), phaseStyle(r.phase))
	}
	if bar, bytes := pullBar(r); bar != "" && room() > cells(bar)+1 {
		add(" [", plain)
		add(bar, green)
		add("]", plain)
		if room() > cells(bytes) {
			add(bytes, plain)
		}
	}
	if n, text := room(), firstLine(r.text); text != "" && n >= 5 {
		add(" "+cut(text, n-1), plain)
	}
	if n := width - used - cells(timer); n >= 0 {
		add(strings.Repeat(" ", n), plain)
		add(timer, blue)
	}
	return parts
}

func statusText(r *task) string { return r.status }

func glyph(r *task, now time.Time) (string, style) {
	switch r.phase {
	case api.PhaseDone:
		return "✔", green
	case api.PhaseWarning:
		return "!", amber
	case api.PhaseError:
		return "✘", red
	case api.PhaseWorking:
	}
	n := int(max(now.Sub(r.started), 0)/tickEvery) % len(spinner)
	return spinner[n], yellow
}

// pullBar is the bar and the sizes of a task that counts bytes: a glyph for each layer as docker compose has it, or a bar
// for the whole.
func pullBar(r *task) (bar, bytes string) {
	if r.completed() {
		return "", ""
	}
	var b strings.Builder
	if len(r.layers) > 0 {
		var current, total int64
		for _, l := range r.layers {
			current, total = current+l.current, total+l.total
			b.WriteString(fill[l.eighths()])
		}
		return b.String(), sizes(current, total)
	}
	if r.total <= 0 {
		return "", ""
	}
	eighths := int(min(r.current, r.total) * barCells * 8 / r.total)
	for range barCells {
		b.WriteString(fill[min(eighths, 8)])
		eighths = max(eighths-8, 0)
	}
	return b.String(), sizes(r.current, r.total)
}

// eighths says how far a layer is.
func (l *layer) eighths() int64 {
	switch {
	case l.done:
		return 8
	case l.total <= 0:
		return 0
	}
	return min(l.current, l.total) * 8 / l.total
}

func sizes(current, total int64) string {
	if total <= 0 {
		return ""
	}
	return fmt.Sprintf(" %s / %s", units.HumanSize(float64(current)), units.HumanSize(float64(total)))
}

// join makes a line of parts, cut to width cells.
func join(parts []part, width int, color bool) string {
	var b strings.Builder
	for _, p := range parts {
		text := p.text
		if w := cells(text); w > width {
			text = runewidth.Truncate(text, width, "")
			width = 0
		} else {
			width -= w
		}
		if color {
			text = p.style.apply(text)
		}
		b.WriteString(text)
	}
	return strings.TrimRight(b.String(), " ")
}

// cut shortens s to n cells, with "..." where there is room for it.
func cut(s string, n int) string {
	switch {
	case n <= 0:
		return ""
	case cells(s) <= n:
		return s
	case n <= 3:
		return runewidth.Truncate(s, n, "")
	}
	return runewidth.Truncate(s, n, "...")
}

func cells(s string) int { return runewidth.StringWidth(s) }

// firstLine is the first line of a message that says something: BuildKit's begin with a rule.
func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); strings.Trim(line, "-") != "" {
			return line
		}
	}
	return ""
}
