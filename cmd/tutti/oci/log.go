package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// logger writes what runc's logrus would: lines of JSON or of key=value pairs, to a
// file or to standard error. containerd and podman read the last line of the file
// for the reason of a failure.
type logger struct {
	path, format string
	debug        bool
	out          io.Writer // nil until open
}

func (l *logger) open() error {
	if l.format != "text" && l.format != "json" {
		return fmt.Errorf("unknown --log-format %q: text or json is wanted", l.format)
	}
	if l.path == "" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		l.path = ""
		return fmt.Errorf("open log: %w", err)
	}
	l.out = f // closed by the end of the program
	return nil
}

func (l *logger) line(level, message string) {
	out := l.out
	if out == nil {
		out = os.Stderr
	}
	now := time.Now().Format(time.RFC3339)
	if l.format != "json" {
		_, _ = fmt.Fprintf(out, "time=%q level=%s msg=%q\n", now, level, message)
		return
	}
	b, err := json.Marshal(struct {
		Level   string `json:"level"`
		Message string `json:"msg"`
		Time    string `json:"time"`
	}{level, message, now})
	if err != nil { // a struct of strings
		panic(err)
	}
	_, _ = out.Write(append(b, '\n'))
}

// fatal logs why the program ends. With a log file the reason is on standard error too.
func (l *logger) fatal(err error) {
	l.line("error", err.Error())
	if l.out != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
}

func (l *logger) warn(err error) { l.line("warning", err.Error()) }

func (l *logger) debugf(format string, args ...any) {
	if l.debug {
		l.line("debug", fmt.Sprintf(format, args...))
	}
}
