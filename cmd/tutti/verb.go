package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tutti/cmd/tutti/progress"
	"tutti/scheduler/api"
)

// dryRunMark begins every line of what a dry run says.
const dryRunMark = "DRY-RUN MODE -  "

// displayOptions are what commands add to the global flags.
type displayOptions struct {
	quiet, quietPull, quietBuild bool
	noBlock                      bool // lines also on a terminal
}

func (a *app) display(ctx context.Context, operation string, o displayOptions) *progress.Display {
	mode := a.mode
	if o.quiet {
		mode = progress.Quiet
	}
	if o.noBlock && mode == progress.TTY {
		mode = progress.Plain
	}
	p := progress.Options{Out: a.err, Mode: mode, Operation: operation, Color: a.colorful(a.err), QuietPull: o.quietPull, QuietBuild: o.quietBuild}
	if fd, ok := terminal(a.err); ok {
		p.Size = func() (int, int) { return terminalSize(fd) }
	}
	return progress.New(ctx, p)
}

func terminalSize(fd int) (width, height int) {
	w, h, err := term.GetSize(fd)
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}

// verb lets the engine carry out a project verb, and shows its progress.
func (a *app) verb(ctx context.Context, c *api.Client, verb string, request any, o displayOptions) error {
	d := a.display(ctx, verb, o)
	defer d.Close()
	return c.Stream(ctx, verb, request, func(e api.Event) {
		if e.Kind == api.KindPlan {
			a.printPlan(e.Text)
			return
		}
		d.Event(e)
	})
}

// printPlan prints the plan of a dry run: it is what the command was asked for, so it goes to stdout.
func (a *app) printPlan(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprint(a.out, dryRunMark+line)
	}
}

// optionalTimeout is the value of -t in seconds, nil when the flag was not given: containers have their own grace periods.
func optionalTimeout(cmd *cobra.Command, seconds int) *int {
	if !cmd.Flags().Changed("timeout") {
		return nil
	}
	return &seconds
}
