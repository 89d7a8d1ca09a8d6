package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// maxLine bounds what is joined to one line: a longer one is given out in parts of about this size.
const maxLine = 1 << 20

// ReadOptions choose what Read gives out.
type ReadOptions struct {
	Tail   int       // so many last lines, counted before Since and Until apply, as in Docker; -1: all
	Since  time.Time // not older than this; zero: no limit
	Until  time.Time // not younger; zero: no limit
	Follow bool      // go on with what is written later, until Finish, or Until has passed
	// Raw gives out the container's bytes piece by piece as they were written, instead of joined to lines.
	Raw bool
	// CaughtUp is called, if not nil, whenever all there is has been given out and, with Follow, more is waited for. An
	// error of it ends the reading and is returned.
	CaughtUp func() error
}

// Entry is a line, or a piece of one with Raw.
type Entry struct {
	Time   time.Time // when its last byte was captured
	Stream string    // Stdout or Stderr
	// Line ends with its newline, unless it is unfinished at the end of the log, or goes on in the stream's next
	// Entry because it is longer than 1 MiB. A line that the container did not finish before it ended gets the newline
	// that is missing, but not with Raw. It is valid until emit returns.
	Line []byte
}

// Read gives out entries in the order of their ends, so that times never decrease, until the end of the log or, with
// Follow, until Finish; at last the unfinished line of each stream. An error of emit ends it and is returned.
func (f *File) Read(ctx context.Context, o ReadOptions, emit func(Entry) error) error {
	files, err := f.snapshot()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r := &reader{log: f, files: files, joiner: newJoiner(o, emit), caughtUp: o.CaughtUp}
	defer r.close()
	if o.Tail >= 0 {
		start, err := findTail(ctx, files, o.Tail)
		if err != nil {
			return fmt.Errorf("read log %s: %w", f.path, err)
		}
		r.seek(start)
	}
	err = r.run(ctx, o)
	if errors.Is(err, errPastUntil) {
		return nil
	}
	return err
}

// segment is one file of a log and how much of it is valid.
type segment struct {
	file *os.File
	size int64
	gen  uint64
}

// snapshot opens the files of the log, the oldest first and the current one last.
func (f *File) snapshot() ([]segment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	files := []segment{{file: cur, size: f.size, gen: f.gen}}
	for i := 1; ; i++ {
		old, err := os.Open(rotated(f.path, i))
		if err != nil {
			break // the numbers have no gaps but after a crash, which the next rotation closes
		}
		st, err := old.Stat()
		if err != nil {
			old.Close()
			break
		}
		files = append([]segment{{file: old, size: st.Size()}}, files...)
	}
	return files, nil
}

// reader goes through the files of a log, and with the writer.
type reader struct {
	log      *File
	files    []segment // the first one is being read
	offset   int64
	joiner   *joiner
	caughtUp func() error
	buf      []byte

	// Of a Subscription; guarded by log.mu.
	fed   []segment // files that have been begun since, in their order
	until *Position // where to end; nil: at Finish
}

func (r *reader) close() {
	for _, s := range r.files {
		s.file.Close()
	}
	r.files = nil
	r.log.forget(r)
}

// seek leaves out what is before start.
func (r *reader) seek(start tailStart) {
	for _, s := range r.files[:start.file] {
		s.file.Close()
	}
	r.files, r.offset = r.files[start.file:], start.offset
	if r.joiner != nil {
		r.joiner.skip, r.joiner.dropTail, r.joiner.drop = start.skip, start.dropTail, start.drop
	}
}

func (r *reader) run(ctx context.Context, o ReadOptions) error {
	for {
		if err := r.readSegment(ctx); err != nil {
			return err
		}
		if len(r.files) > 1 {
			r.files[0].file.Close()
			r.files, r.offset = r.files[1:], 0
			continue
		}
		if !o.Follow {
			return r.joiner.flush()
		}
		more, err := r.wait(ctx, o.Until)
		if err != nil {
			return err
		}
		if !more {
			return r.joiner.flush()
		}
	}
}

// wait returns when there is more to read: in this file, or in the next, which is then appended to files. It
// returns false when the log is finished or until has passed.
func (r *reader) wait(ctx context.Context, until time.Time) (more bool, err error) {
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, until, errPastUntil)
		defer cancel()
	}
	for {
		changed, more, err := r.news()
		if err != nil || more {
			return more, err
		}
		if changed == nil {
			return false, nil
		}
		if r.caughtUp != nil {
			if err := r.caughtUp(); err != nil {
				return false, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errPastUntil) {
				return false, nil
			}
			return false, ctx.Err()
		}
	}
}

// news looks for more to read. If there is none it returns a channel that is closed at the next change, or
// nil when none is to come.
func (r *reader) news() (changed <-chan struct{}, more bool, err error) {
	f, s := r.log, &r.files[0]
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.passed(s) {
		return nil, false, nil
	}
	if s.gen == f.gen {
		if f.size > s.size {
			s.size = r.bounded(s.gen, f.size)
			return nil, true, nil
		}
		if f.finished {
			return nil, false, nil
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		return f.changed, false, nil
	}
	st, err := s.file.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("follow log: %w", err)
	}
	if st.Size() > s.size { // written before the rotation
		s.size = r.bounded(s.gen, st.Size())
		return nil, true, nil
	}
	if len(r.fed) > 0 {
		r.files, r.fed = append(r.files, r.fed[0]), r.fed[1:]
		return nil, true, nil
	}
	next, err := f.openAfter(s.gen)
	if err != nil {
		return nil, false, fmt.Errorf("follow log: %w", err)
	}
	r.files = append(r.files, next)
	return nil, true, nil
}

// openAfter opens the file that followed that of generation gen, or the oldest left. The caller holds mu.
func (f *File) openAfter(gen uint64) (segment, error) {
	for gen++; gen < f.gen; gen++ {
		file, err := os.Open(rotated(f.path, int(f.gen-gen)))
		if err != nil {
			continue // rotated away
		}
		st, err := file.Stat()
		if err != nil {
			file.Close()
			return segment{}, err
		}
		return segment{file: file, size: st.Size(), gen: gen}, nil
	}
	file, err := os.Open(f.path)
	return segment{file: file, size: f.size, gen: f.gen}, err
}
