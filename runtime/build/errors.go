package build

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/solver/errdefs"
)

// Error is a build that failed.
type Error struct {
	Source string // the Dockerfile's lines around the failing one; empty when it is not a line's fault
	Output string // the end of the failing step's output
	Err    error

	hide *strings.Replacer // of credentials; nil: there are none
}

// Error shows all of it: output, source lines and, last, what went wrong.
func (e *Error) Error() string {
	var text strings.Builder
	if e.Output != "" {
		text.WriteString("------\n" + strings.TrimRight(e.Output, "\n") + "\n------\n")
	}
	text.WriteString(e.Source)
	text.WriteString(e.Err.Error())
	if e.hide != nil {
		return e.hide.Replace(text.String())
	}
	return text.String()
}

func (e *Error) Unwrap() error { return e.Err }

// errDevice is the answer to RUN --device. BuildKit's own points to a frontend that would know it, which is the one in use.
var errDevice = errors.New("RUN --device is not supported: no device of the host reaches a build")

const deviceRefused = "device feature is only supported in Dockerfile frontend"

// newError finds the source lines in BuildKit's error details.
func newError(err error, output string, hide *strings.Replacer) *Error {
	var text strings.Builder
	for _, source := range errdefs.Sources(err) {
		if source.Print(&text) != nil {
			break // a strings.Builder does not fail
		}
	}
	if strings.Contains(err.Error(), deviceRefused) {
		err = errDevice
	}
	return &Error{Source: text.String(), Output: output, Err: fmt.Errorf("build: %w", err), hide: hide}
}

// failedStep is the digest of the step that failed, empty when it was none.
func failedStep(err error) string {
	if vertex, ok := errors.AsType[*errdefs.VertexError](err); ok {
		return vertex.Digest
	}
	return ""
}
