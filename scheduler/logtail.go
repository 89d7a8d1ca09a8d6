package scheduler

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"tutti/runtime/logs"
)

// lastLines is how much of a failed container's log is shown to explain the failure.
const lastLines = 10

// lastLog is the end of a container's log, to be put under an error message.
func (e *Engine) lastLog(u *unit) string {
	if u.log == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(e.ctx, time.Second)
	defer cancel()
	var b strings.Builder
	_ = u.log.Read(ctx, logs.ReadOptions{Tail: lastLines}, func(l logs.Entry) error {
		fmt.Fprintf(&b, "\n  %s | %s", u.config.Name, bytes.TrimRight(l.Line, "\r\n"))
		return nil
	})
	return b.String()
}
