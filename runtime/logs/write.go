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

// A full disk may have room again in a moment, while the container's pipe fills up. If it has not within fullDiskPatience,
// output is dropped and counted, as docker drops it: a container must not stand still for want of a log.
const (
	fullDiskRetry    = 100 * time.Millisecond
	fullDiskPatience = 2 * time.Second
)

// errDropped says that records could not be written and were dropped.
var errDropped = errors.New("the disk is full")

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
	if f.opts.Volatile && !f.watched() {
		return commit(len(data), f.size)
	}
	at := f.stamp()
	end := recordEnd(stream, at, f.attributes)
	done := 0
	for done < len(data) {
		if f.full() {
			if err := f.rotate(); diskTrouble(err) {
				return f.drop(data[done:], commit, len(data))
			} else if err != nil {
				return err
			}
			if err := commit(done, f.size); err != nil {
				return err
			}
		}
		b := f.appendNotice((*out)[:0], at)
		before := done
		for done < len(data) && (f.opts.MaxSize <= 0 || f.size+int64(len(b)) < f.opts.MaxSize) {
			n := pieceLen(data[done:])
			b = appendRecord(b, data[done:done+n], end)
			done += n
		}
		*out = b
		if err := f.write(ctx, b); errors.Is(err, errDropped) {
			return f.drop(data[before:], commit, len(data))
		} else if err != nil {
			return err
		}
		f.dropped = 0
		f.noteEnd(stream, at, data[:done])
		if err := commit(done, f.size+int64(len(b))); err != nil {
			return err
		}
		f.publish(int64(len(b)))
	}
	return nil
}

func (f *File) full() bool { return f.opts.MaxSize > 0 && f.size >= f.opts.MaxSize }

// write writes b behind the committed bytes. On a full disk it waits for a while, unless it has done so before.
func (f *File) write(ctx context.Context, b []byte) error {
	at := f.size
	for {
		n, err := f.cur.WriteAt(b, at)
		if err == nil {
			f.fullSince = time.Time{}
			return nil
		}
		if !diskTrouble(err) {
			return fmt.Errorf("write log: %w", err)
		}
		b, at = b[n:], at+int64(n)
		if f.fullSince.IsZero() {
			f.fullSince = time.Now()
		}
		if time.Since(f.fullSince) > fullDiskPatience {
			return errors.Join(errDropped, err, f.cur.Truncate(f.size))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write log: %w", err)
		case <-time.After(fullDiskRetry):
		}
	}
}

// diskTrouble says whether writing failed for a reason that passes: a full disk, or one that has become read-only.
func diskTrouble(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EIO)
}

// drop counts data that cannot be recorded, and commits it as if it were: all bytes of the batch are done with.
func (f *File) drop(data []byte, commit func(done int, end int64) error, all int) error {
	if f.dropped == 0 && f.opts.Logger != nil {
		f.opts.Logger.Error("the disk is full: a container's output is dropped until there is room", "log", f.path)
	}
	f.dropped += int64(len(data))
	return commit(all, f.size)
}

// appendNotice adds a record about what was dropped, if there is room in the file for it now.
func (f *File) appendNotice(b []byte, at time.Time) []byte {
	if f.dropped == 0 {
		return b
	}
	text := fmt.Appendf(nil, "tutti: %d bytes of output were dropped, for the disk was full\n", f.dropped)
	return appendRecord(b, text, recordEnd(Stderr, at, f.attributes))
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
	// First, for this is what a full disk refuses; then nothing has been renamed.
	next := f.path + nextSuffix
	made, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	defer made.Close()
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
	if err := os.Rename(next, f.path); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	old := f.cur
	if err := f.openCurrent(); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	f.gen++
	f.announce()
	return errors.Join(old.Close(), f.feed())
}

// nextSuffix names the file that is to be the next current one.
const nextSuffix = ".next"

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
