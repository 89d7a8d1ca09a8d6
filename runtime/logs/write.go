package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The streams of a container; a terminal's output counts as Stdout.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// fullDiskRetry is how often a write to a full disk is tried again. Meanwhile the container's pipe fills up and
// the container waits: that is the price for losing nothing.
const fullDiskRetry = 200 * time.Millisecond

// stamp returns the time for the records of a batch: now, but always later than that of the batch before, so that
// a reader can go on after a time that it has seen.
func (f *File) stamp() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().Round(0)
	if !now.After(f.last) {
		now = f.last.Add(1)
	}
	f.last = now
	return now
}

// logData records data, in as many records and files as it takes. The caller holds writer. Whenever records are
// in the file, and after each rotation, commit is told how much of data is recorded and where the file ends.
// After an error of it or of logData, the rest of data is not recorded.
func (f *File) logData(ctx context.Context, stream string, data []byte, out *[]byte, commit func(done int, end int64) error) error {
	at := f.stamp()
	end := recordEnd(stream, at, f.attributes)
	done := 0
	for done < len(data) {
		if f.full() {
			if err := f.rotate(); err != nil {
				return err
			}
			if err := commit(done, f.size); err != nil {
				return err
			}
		}
		b := (*out)[:0]
		for done < len(data) && (f.opts.MaxSize <= 0 || f.size+int64(len(b)) < f.opts.MaxSize) {
			n := pieceLen(data[done:])
			b = appendRecord(b, data[done:done+n], end)
			done += n
		}
		*out = b
		if err := f.write(ctx, b); err != nil {
			return err
		}
		f.noteEnd(stream, at, data[:done])
		if err := commit(done, f.size+int64(len(b))); err != nil {
			return err
		}
		f.publish(int64(len(b)))
	}
	return nil
}

func (f *File) full() bool { return f.opts.MaxSize > 0 && f.size >= f.opts.MaxSize }

// write writes b behind the committed bytes. On a full disk it waits.
func (f *File) write(ctx context.Context, b []byte) error {
	at := f.size
	for warned := false; ; {
		n, err := f.cur.WriteAt(b, at)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return fmt.Errorf("write log: %w", err)
		}
		b, at = b[n:], at+int64(n)
		if !warned && f.opts.Logger != nil {
			f.opts.Logger.Warn("the disk is full: a container's output waits", "log", f.path)
			warned = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write log: %w", err)
		case <-time.After(fullDiskRetry):
		}
	}
}

// publish lets readers see n more bytes.
func (f *File) publish(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size += n
	f.announce()
}

// rotate moves the current file to .1, the one before to .2 and so on, deletes the one too many, and begins a new
// file. A crash in the middle leaves a gap in the numbers, which the next rotation fills.
func (f *File) rotate() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep := max(f.opts.MaxFiles, 1) - 1 // beside the current one
	gap := 1
	for gap <= keep && exists(rotated(f.path, gap)) {
		gap++
	}
	for i := min(gap, keep); i > 0; i-- {
		if err := os.Rename(rotated(f.path, i-1), rotated(f.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate log: %w", err)
		}
	}
	if keep == 0 {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate log: %w", err)
		}
	}
	old := f.cur
	if err := f.openCurrent(); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	f.gen++
	f.announce()
	return old.Close()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
