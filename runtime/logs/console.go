package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// CaptureConsole records what comes out of a terminal, as Stdout, until its last user has gone or ctx is done.
// What this process has read but not written when it is killed is lost, unlike with Capture; no record is torn.
// master must be non-blocking, so that ctx can end a read.
func (f *File) CaptureConsole(ctx context.Context, master *os.File) error {
	f.mu.Lock()
	f.finished = false
	f.mu.Unlock()
	if err := master.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("capture console: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = master.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	in := make([]byte, 4<<10) // a terminal's buffer has this size
	var out []byte
	for {
		n, err := master.Read(in)
		if n > 0 {
			if err := f.logConsole(ctx, in[:n], &out); err != nil {
				return fmt.Errorf("capture console: %w", err)
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.EIO), errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil // EIO: no process has the terminal open (pts(4))
		case err != nil:
			return fmt.Errorf("capture console: %w", err)
		}
	}
}

func (f *File) logConsole(ctx context.Context, data []byte, out *[]byte) error {
	f.writer.Lock()
	defer f.writer.Unlock()
	return f.logData(ctx, Stdout, data, out, func(int, int64) error { return nil })
}
