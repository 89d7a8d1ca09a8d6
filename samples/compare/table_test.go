package compare

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// known is a difference that is meant, or that is docker's own: in a section, rows and what is compared of them by patterns.
type known struct {
	section string
	row     string // "" for every row
	what    string // "" for everything
	why     string
	docker  string // a pattern that docker's side must match
	tutti   string // ... and tutti's
	old     bool   // with docker before 23, or with its classic builder
}

// tally counts what was compared in a section.
type tally struct {
	rows, equal int
	differ      map[string]bool   // rows with a difference that nobody knows
	known       map[string]int    // rows by the reason
	unable      map[string]string // rows that this docker cannot do
}

// ledger is the table of the whole run.
type ledger struct {
	mu       sync.Mutex
	sections map[string]*tally
	order    []string
}

var table = &ledger{sections: map[string]*tally{}}

func (l *ledger) section(name string) *tally {
	s := l.sections[name]
	if s == nil {
		s = &tally{differ: map[string]bool{}, known: map[string]int{}, unable: map[string]string{}}
		l.sections[name] = s
		l.order = append(l.order, name)
	}
	return s
}

// row compares one row of a section. It is ended by end.
type row struct {
	t             testing.TB
	section, name string
	reasons       map[string]bool
	failed        bool
	cannot        string
}

func newRow(t testing.TB, section, name string) *row {
	return &row{t: t, section: section, name: name, reasons: map[string]bool{}}
}

// equal compares something of both.
func (r *row) equal(what, docker, tutti string) {
	r.t.Helper()
	if docker != tutti {
		r.differ(what, docker, tutti)
	}
}

// differ notes a difference: a known one, or an error.
func (r *row) differ(what, docker, tutti string) {
	r.t.Helper()
	for _, k := range knownDifferences {
		if k.section == r.section && matches(k.row, r.name) && matches(k.what, what) && matches(k.docker, docker) && matches(k.tutti, tutti) && (!k.old || oldDocker) {
			r.reasons[k.why] = true
			return
		}
	}
	r.failed = true
	r.t.Errorf("%s: %s: %s differs:\n  docker: %s\n  tutti:  %s", r.section, r.name, what, indent(docker), indent(tutti))
}

func indent(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n          ")
}

// unable says that this docker cannot do what the row is about.
func (r *row) unable(why string) { r.cannot = why }

// end counts the row.
func (r *row) end() {
	table.mu.Lock()
	defer table.mu.Unlock()
	s := table.section(r.section)
	s.rows++
	switch {
	case r.failed:
		s.differ[r.name] = true
	case r.cannot != "":
		s.unable[r.name] = r.cannot
	case len(r.reasons) == 0:
		s.equal++
	}
	for why := range r.reasons {
		s.known[why]++
	}
}

// matches tells whether a whole text matches a pattern; the empty pattern matches all.
func matches(pattern, text string) bool {
	return pattern == "" || regexp.MustCompile("(?s)^(?:"+pattern+")$").MatchString(text)
}

// String is the table of the run.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %-34s | %5s | %5s | %16s | %18s | %10s |\n|%s|\n", "compared", "rows", "equal", "known difference", "docker cannot here", "difference",
		strings.Join([]string{strings.Repeat("-", 36), "------:", "------:", strings.Repeat("-", 17) + ":", strings.Repeat("-", 19) + ":", strings.Repeat("-", 11) + ":"}, "|"))
	for _, name := range l.order {
		s := l.sections[name]
		meant := s.rows - s.equal - len(s.unable) - len(s.differ)
		fmt.Fprintf(&b, "| %-34s | %5d | %5d | %16d | %18d | %10d |\n", name, s.rows, s.equal, meant, len(s.unable), len(s.differ))
	}
	return b.String()
}

// begin and end of what a run writes into the page.
const (
	pageBegin = "<!-- begin: written by make compare -->\n"
	pageEnd   = "<!-- end -->\n"
)

// writePage writes the run's table and the differences that it met into the page.
func (l *ledger) writePage(path, versions string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), pageBegin)
	_, tail, ok2 := strings.Cut(rest, pageEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the lines %q and %q are not there", path, strings.TrimSpace(pageBegin), strings.TrimSpace(pageEnd))
	}
	var b strings.Builder
	b.WriteString(head + pageBegin + "\n")
	for line := range strings.Lines(versions) {
		b.WriteString("    " + line)
	}
	b.WriteString(l.String() + "\n")
	for _, name := range l.order {
		s := l.sections[name]
		if len(s.known)+len(s.unable) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s:\n\n", name)
		for _, why := range sorted(s.known) {
			fmt.Fprintf(&b, "* %s (%s)\n", why, plural(s.known[why], "row"))
		}
		if names := sorted(s.unable); len(names) > 0 {
			fmt.Fprintf(&b, "* this docker cannot: %s\n", strings.Join(names, ", "))
		}
		b.WriteString("\n")
	}
	return os.WriteFile(path, []byte(b.String()+pageEnd+tail), 0o644) //nolint:gosec // a page of the documentation
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
