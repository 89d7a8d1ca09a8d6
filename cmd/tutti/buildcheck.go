package main

import (
	"fmt"
	"io"

	"tutti/scheduler/api"
)

// checks prints what the checks of builds find, as `buildx bake --check` does.
type checks struct {
	out   io.Writer
	shown bool
	found int
}

func (c *checks) add(e api.Event) {
	if e.Kind != api.KindCheck {
		return
	}
	if c.shown {
		fmt.Fprintln(c.out)
	}
	c.shown = true
	if e.Name != "" {
		fmt.Fprintf(c.out, "%s\n\n", e.Name)
	}
	fmt.Fprint(c.out, e.Text)
	c.found += e.Changes
}

// end makes the exit code 1 when something was found; that was said already.
func (c *checks) end() error {
	if c.found > 0 {
		return &exitError{code: 1}
	}
	return nil
}
