package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// screen keeps a block of lines painted at the cursor's position. It relies on every line being narrower than the
// terminal: then a line is a row, and relative moves find the block's first row again. A frame is one Write.
type screen struct {
	out   io.Writer
	prev  []string
	width int
}

// paint draws lines over what was painted before, leaving alone what has not changed.
func (s *screen) paint(lines []string, width int) {
	if width < s.width {
		s.forget() // the terminal may have reflowed the old rows: begin a new block below
	}
	all := width != s.width
	if !all && slices.Equal(lines, s.prev) {
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[?25l") // hide the cursor
	s.home(&b)
	for i, l := range lines {
		if all || i >= len(s.prev) || s.prev[i] != l {
			b.WriteString("\x1b[2K" + l)
		}
		b.WriteString("\n")
	}
	if len(s.prev) > len(lines) {
		b.WriteString("\x1b[J")
	}
	b.WriteString("\x1b[?25h")
	io.WriteString(s.out, b.String()) //nolint:errcheck // nothing can be said on a terminal that is gone
	s.prev, s.width = lines, width
}

// erase takes the block off the screen and leaves the cursor where it began.
func (s *screen) erase() {
	if len(s.prev) == 0 {
		return
	}
	var b strings.Builder
	s.home(&b)
	b.WriteString("\x1b[J")
	io.WriteString(s.out, b.String()) //nolint:errcheck // as above
	s.forget()
}

// forget leaves the block as it is: the next one begins at the cursor.
func (s *screen) forget() { s.prev, s.width = nil, 0 }

func (s *screen) home(b *strings.Builder) {
	if n := len(s.prev); n > 0 {
		fmt.Fprintf(b, "\x1b[%dA", n)
	}
	b.WriteString("\r")
}
