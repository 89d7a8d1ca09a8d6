package engine

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"tutti/runtime/logs"
)

// LastLines is how much of a failed container's log is shown to explain the failure.
const LastLines = 10

// LastLog is the end of a container's log, to be put under an error message.
func (e *Engine) LastLog(u *Unit) string {
	if u.Log == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(e.ctx, time.Second)
	defer cancel()
	var b strings.Builder
	_ = u.Log.Read(ctx, logs.ReadOptions{Tail: LastLines}, func(l logs.Entry) error {
		fmt.Fprintf(&b, "\n  %s | %s", u.Name(), bytes.TrimRight(l.Line, "\r\n"))
		return nil
	})
	return b.String()
}
