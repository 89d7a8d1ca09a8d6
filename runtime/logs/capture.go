package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A container that writes much gets a larger pipe, so that it can go on writing while the engine is away.
// Others keep the usual size, for pipe buffers are counted per user (pipe(7), pipe-user-pages-soft) and root in a
// container may be the same user.
const (
	chattyAfter = 256 << 10
	chattyPipe  = 256 << 10
)

// capture is one run of Capture. The log's writer lock covers the staging pipe as well.
type capture struct {
	f              *File
	p              *Pipes
	note           *os.File
	noted          intent
	stageR, stageW int
	null           *os.File
	failed         error // the staging pipe is not empty; nothing more may come into it
}

// Capture records what comes through p until all writers have closed their ends, or until what is there has
// been read after Drain, or until ctx is done; what is still in the pipes then is left to the next capture.
//
// No byte is lost or doubled when this process is killed at any point, if p's files stay open elsewhere:
//
//  1. The intent says: the log is valid up to its present end, nothing in the staging pipe is recorded.
//  2. splice(2) moves a batch from the container's pipe into the staging pipe: no byte is ever in one process only.
//  3. tee(2) duplicates the batch into a scratch pipe, where it is read, and its records are written to the log.
//  4. The intent says: the log is valid up to its new end, and the staging pipe's content is recorded.
//  5. The staging pipe is emptied.
//
// The next engine reads the intent, drops the part of the staging pipe that is recorded, cuts the log at the end
// that is valid, and records the rest. A rotation in the middle of a batch is another pair of steps 4 and 1; that
// the inode of the current file is not the intent's tells that the rotation came before the kill.
func (f *File) Capture(ctx context.Context, p *Pipes) error {
	f.mu.Lock()
	f.finished = false
	f.mu.Unlock()
	c := &capture{f: f, p: p, note: p.files[nameIntent]}
	if err := c.prepare(ctx); err != nil {
		return fmt.Errorf("capture %s: %w", f.path, err)
	}
	defer c.null.Close()
	stop := context.AfterFunc(ctx, p.interrupt)
	defer stop()
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = c.stream(ctx, nameStdout, Stdout) })
	wg.Go(func() { errs[1] = c.stream(ctx, nameStderr, Stderr) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("capture %s: %w", f.path, err)
	}
	return ctx.Err()
}

// prepare finishes the batch that a killed engine had begun.
func (c *capture) prepare(ctx context.Context) (err error) {
	if c.stageR, err = descriptor(c.p.files[nameStageR]); err != nil {
		return err
	}
	if c.stageW, err = descriptor(c.p.files[nameStageW]); err != nil {
		return err
	}
	if c.null, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		return err
	}
	if err = c.resume(ctx); err != nil {
		c.null.Close()
	}
	return err
}

func (c *capture) resume(ctx context.Context) error {
	c.f.writer.Lock()
	defer c.f.writer.Unlock()
	if err := c.f.takeBack(c.p); err != nil {
		return err
	}
	noted, ok, err := loadIntent(c.note)
	if err != nil || !ok {
		return err
	}
	staged, err := unix.IoctlGetInt(c.stageR, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return os.NewSyscallError("FIONREAD", err)
	}
	if recorded := staged - int(min(noted.left, uint64(staged))); recorded > 0 {
		if err := c.drop(recorded); err != nil {
			return err
		}
		staged -= recorded
	}
	if err := c.save(noted.stream, leftAll, c.f.size); err != nil {
		return err
	}
	return c.record(ctx, noted.stream, staged)
}

// takeBack cuts off the records that p's intent does not vouch for. Doing it again changes nothing.
func (f *File) takeBack(p *Pipes) error {
	noted, ok, err := loadIntent(p.files[nameIntent])
	if err != nil || !ok {
		return err
	}
	end := noted.end
	if noted.inode != f.inode {
		end = 0 // rotated since; the new file has nothing valid yet
	}
	if f.size <= end {
		return nil
	}
	if err := f.cur.Truncate(end); err != nil {
		return err
	}
	f.unfinished = nil
	f.mu.Lock()
	f.size = end
	f.mu.Unlock()
	return nil
}

// stream records one pipe until its end.
func (c *capture) stream(ctx context.Context, name, stream string) error {
	src := c.p.files[name]
	raw, err := src.SyscallConn()
	if err != nil {
		return err
	}
	if !c.p.draining.Load() && src.SetReadDeadline(time.Time{}) == nil && c.p.draining.Load() {
		c.p.interrupt() // Drain came in between
	}
	if ctx.Err() != nil {
		return nil
	}
	for total, grown := 0, false; ; {
		n, err := c.next(ctx, raw, stream)
		if err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		if n == 0 {
			return nil
		}
		if total += n; total >= chattyAfter && !grown {
			grown = true
			_ = raw.Control(func(fd uintptr) { // works as well without
				_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, chattyPipe)
			})
		}
	}
}

// next waits for output and records a batch. It returns 0 at the end.
func (c *capture) next(ctx context.Context, raw syscall.RawConn, stream string) (n int, err error) {
	var failed error
	attempt := func(fd uintptr) bool {
		n, failed = c.batch(ctx, int(fd), stream)
		return !errors.Is(failed, unix.EAGAIN)
	}
	err = raw.Read(attempt) // waits after EAGAIN
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil || !c.p.draining.Load() {
			return 0, nil
		}
		err = raw.Control(func(fd uintptr) { attempt(fd) })
		if errors.Is(failed, unix.EAGAIN) {
			return 0, nil // drained
		}
	}
	return n, errors.Join(err, failed)
}

// batch moves what is in pipe src, or a part of it, into the log. It returns 0 when all writers have gone and
// EAGAIN when there is nothing.
func (c *capture) batch(ctx context.Context, src int, stream string) (int, error) {
	c.f.writer.Lock()
	defer c.f.writer.Unlock()
	if ctx.Err() != nil || c.failed != nil {
		return 0, nil
	}
	if err := c.save(stream, leftAll, c.f.size); err != nil {
		return 0, err
	}
	n, err := retry(func() (int, error) {
		n, err := unix.Splice(src, nil, c.stageW, nil, batchBytes, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
	if err != nil || n == 0 {
		return 0, err
	}
	c.failed = c.record(ctx, stream, n)
	return n, c.failed
}

// record writes the staged bytes to the log and empties the staging pipe. The caller holds writer.
func (c *capture) record(ctx context.Context, stream string, staged int) error {
	if staged == 0 {
		return nil
	}
	s, err := getScratch()
	if err != nil {
		return err
	}
	for staged > 0 {
		data, err := s.peek(c.stageR, staged)
		if err != nil {
			s.close()
			return err
		}
		before := staged
		err = c.f.logData(ctx, stream, data, &s.out, func(done int, end int64) error {
			return c.save(stream, uint64(before-done), end)
		})
		if err != nil {
			s.put()
			return err
		}
		if err := c.drop(len(data)); err != nil {
			s.put()
			return err
		}
		staged -= len(data)
	}
	s.put()
	return nil
}

// save notes the intent, unless it is what is noted.
func (c *capture) save(stream string, left uint64, end int64) error {
	n := intent{inode: c.f.inode, end: end, left: left, stream: stream}
	if n == c.noted {
		return nil
	}
	if err := n.store(c.note); err != nil {
		return err
	}
	c.noted = n
	return nil
}

// drop removes the first n bytes from the staging pipe.
func (c *capture) drop(n int) error {
	null := int(c.null.Fd())
	for n > 0 {
		m, err := retry(func() (int, error) {
			m, err := unix.Splice(c.stageR, nil, null, nil, n, unix.SPLICE_F_NONBLOCK)
			return int(m), err
		})
		if err != nil {
			return os.NewSyscallError("splice to "+os.DevNull, err)
		}
		n -= m
	}
	return nil
}
