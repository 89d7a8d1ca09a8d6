package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Error is bad input: one line that says where, what is wrong and what to do.
type Error struct {
	// File is the path of the file at fault and Line its line from 1; empty and 0
	// when that is not known.
	File string
	Line int
	// Service is the service at fault, if it is one.
	Service string
	// What is wrong, and Fix what to do about it.
	What string
	Fix  string

	err error
}

// Error is `file:line: service "x": what — fix`.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(displayPath(e.File))
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Service != "" {
		fmt.Fprintf(&b, "service %q: ", e.Service)
	}
	b.WriteString(oneLine(e.What))
	if e.Fix != "" {
		b.WriteString(" — " + oneLine(e.Fix))
	}
	return b.String()
}

// Unwrap returns the error that this one explains, if any.
func (e *Error) Unwrap() error { return e.err }

// displayPath shortens paths below the current directory, as compilers do.
func displayPath(path string) string {
	if path == "-" {
		return "<stdin>"
	}
	cwd, err := os.Getwd()
	if err != nil || cwd == "/" { // the engine's
		return path
	}
	rel, err := filepath.Rel(cwd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}

// ShortenPosition shortens the path of the file that a message begins with, as an [Error] does: the engine, whose messages
// those are, has another current directory.
func ShortenPosition(message string) string {
	path, rest, found := strings.Cut(message, ":")
	line, _, _ := strings.Cut(rest, ":")
	if _, err := strconv.Atoi(line); !found || err != nil || !filepath.IsAbs(path) {
		return message
	}
	return displayPath(path) + ":" + rest
}

// oneLine makes any text one line, without control characters that a hostile file
// could send to the terminal.
func oneLine(s string) string {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' })
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, strings.Join(fields, " "))
}

// reason is the bare cause of a failed file operation.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.Is(err, syscall.EISDIR):
		return "it is a directory"
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// envFileError names the environment file and line that do not parse.
func envFileError(files []string, err error) error {
	e := &Error{What: oneLine(err.Error()), Fix: "write one NAME=value per line", err: err}
	for _, f := range files {
		if rest, ok := strings.CutPrefix(e.What, "failed to read "+f+": "); ok {
			e.File, e.What = f, rest
			var line int
			if _, scanErr := fmt.Sscanf(rest, "line %d: ", &line); scanErr == nil {
				e.Line = line
				_, e.What, _ = strings.Cut(rest, ": ")
			}
		}
	}
	return e
}
