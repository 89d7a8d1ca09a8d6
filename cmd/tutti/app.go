package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tutti/cmd/tutti/progress"
	"tutti/project"
	"tutti/scheduler/api"
)

// app is one run of the command line: the streams and environment it was given, and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
	signals  <-chan os.Signal // interrupts
	version  string

	globals
	mode progress.Mode // of the progress display; valid once a command runs
}

// globals are the flags that stand before the command.
type globals struct {
	files, envFiles, profiles []string
	name, projectDir, root    string
	progress, ansi            string
	parallel                  int
	dryRun                    bool
}

// exitError ends the command with an exit code of its own and a message, if there is one.
type exitError struct {
	code int
	msg  string
}

func (e *exitError) Error() string { return e.msg }

const exitInterrupted = 130 // 128 + SIGINT, as docker compose ends after Ctrl-C

// main runs the command line and returns the exit code. Failures print one message on stderr.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	msg, code := err.Error(), 1
	var own *exitError
	var end *api.EndError
	switch {
	case errors.As(err, &own):
		msg, code = own.msg, own.code
	case errors.As(err, &end):
		msg, code = project.ShortenPosition(end.Message), end.ExitCode
	}
	if msg = strings.TrimRight(msg, "\n"); msg != "" {
		a.printError(msg)
	}
	return code
}

func (a *app) printError(msg string) {
	if a.mode != progress.JSON {
		fmt.Fprintln(a.err, msg)
		return
	}
	e := json.NewEncoder(a.err)
	e.SetEscapeHTML(false)
	e.Encode(struct { //nolint:errcheck // nobody is left to tell
		Error   bool   `json:"error"`
		Message string `json:"message"`
	}{true, msg})
}

// action is what a command does. Its context ends with the first interrupt.
type action func(ctx context.Context, cmd *cobra.Command, args []string) error

// run makes an action cobra's.
func (a *app) run(do action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.interruptible(cmd.Context(), func(ctx context.Context) error { return do(ctx, cmd, args) })
	}
}

// interruptible runs do until it ends or an interrupt comes, which cancels its context. It is then given the time to end
// in good order, unless a second interrupt comes. However it ends, an interrupted command says so with its exit code.
func (a *app) interruptible(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- do(ctx) }()
	select {
	case err := <-finished:
		return err
	case <-a.signals:
		cancel()
	}
	select {
	case <-finished:
	case <-a.signals:
	}
	return &exitError{code: exitInterrupted}
}

// env returns a variable of the user's environment.
func (a *app) env(name string) (string, bool) {
	for _, v := range slices.Backward(a.environ) {
		if k, v, ok := strings.Cut(v, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// envBool reads a switch of docker compose's: anything that is not a true value is false.
func (a *app) envBool(name string) bool {
	v, _ := a.env(name)
	b, err := strconv.ParseBool(v)
	return err == nil && b
}

// terminal returns the descriptor of a stream that is a terminal.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// colorful says whether ANSI colours go to a stream.
func (a *app) colorful(stream any) bool {
	if v, _ := a.env("NO_COLOR"); v != "" || a.ansi == "never" {
		return false
	}
	_, tty := terminal(stream)
	return tty || a.ansi == "always"
}

// warn tells the user something that does not stop the command.
func (a *app) warn(text string) {
	switch a.mode {
	case progress.JSON:
		d := a.display(context.Background(), "", displayOptions{})
		d.Event(api.Event{Kind: api.KindWarning, Text: text})
		d.Close()
	default:
		label := "WARN"
		if a.colorful(a.err) {
			label = "\x1b[33;1mWARN\x1b[0m"
		}
		fmt.Fprintln(a.err, label, text)
	}
}
