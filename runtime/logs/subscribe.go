package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrRotated means that a place in a log has been rotated away.
var ErrRotated = errors.New("that part of the log has been rotated away")

// Position is a place in a log between two records. It stays valid over engines, until it is rotated away.
type Position struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`

	gen uint64 // of the file in this process
}

// Subscription is a place in a log from which on everything is to be given out.
type Subscription struct {
	r     *reader
	start Position
}

// Subscribe marks the present end of the log: Run gives out everything that is written from now on, byte by byte
// as the container wrote it. A slow subscriber delays nobody, for it reads from the log itself, and it misses nothing:
// a file that is rotated away lives on for it.
func (f *File) Subscribe() (*Subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("subscribe to log: %w", err)
	}
	r := &reader{log: f, files: []segment{{file: cur, size: f.size, gen: f.gen}}, offset: f.size}
	f.subs = append(f.subs, r)
	return &Subscription{r: r, start: Position{Inode: f.inode, Offset: f.size, gen: f.gen}}, nil
}

// SubscribeAt is Subscribe from an earlier place on, of this engine or one before; the zero Position is the beginning of
// the log. The error is ErrRotated when it is not there any more.
func (f *File) SubscribeAt(p Position) (*Subscription, error) {
	files, err := f.snapshot()
	if err != nil {
		return nil, fmt.Errorf("subscribe to log: %w", err)
	}
	r := &reader{log: f, files: files}
	// Registered late, the subscription is fed from the file after its last one on, as news would find them by name.
	f.mu.Lock()
	if files[len(files)-1].gen == f.gen {
		f.subs = append(f.subs, r)
	}
	f.mu.Unlock()
	if p == (Position{}) {
		return &Subscription{r: r, start: p}, nil
	}
	for i, s := range files {
		var st unix.Stat_t
		if err := unix.Fstat(int(s.file.Fd()), &st); err != nil {
			r.close()
			return nil, fmt.Errorf("subscribe to log: %w", err)
		}
		if st.Ino == p.Inode {
			r.seek(tailStart{file: i, offset: p.Offset})
			return &Subscription{r: r, start: p}, nil
		}
	}
	r.close()
	return nil, fmt.Errorf("subscribe to log %s: %w", f.path, ErrRotated)
}

// Start is where the subscription begins.
func (s *Subscription) Start() Position { return s.start }

// Run gives out pieces until Finish, or up to what Until has said. It is to be called once.
func (s *Subscription) Run(ctx context.Context, emit func(Entry) error) error {
	defer s.r.close()
	o := ReadOptions{Tail: -1, Follow: true, Raw: true}
	s.r.joiner = newJoiner(o, emit)
	return s.r.run(ctx, o)
}

// Until lets Run end when everything that stands before p is given out. It may be called while Run is running.
func (s *Subscription) Until(p Position) {
	f := s.r.log
	f.mu.Lock()
	defer f.mu.Unlock()
	s.r.until = &p
	f.announce()
}

// Close ends a Subscription that was never run.
func (s *Subscription) Close() { s.r.close() }

// End is the present end of the log.
func (f *File) End() Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Position{Inode: f.inode, Offset: f.size, gen: f.gen}
}

// watched says whether anybody is subscribed.
func (f *File) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs) > 0
}

// feed opens the file that has just been begun for every subscriber. The caller holds mu.
func (f *File) feed() error {
	for _, r := range f.subs {
		file, err := os.Open(f.path)
		if err != nil {
			return fmt.Errorf("rotate log: %w", err)
		}
		r.fed = append(r.fed, segment{file: file, gen: f.gen})
	}
	return nil
}

// forget ends what feed does for a reader.
func (f *File) forget(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = slices.DeleteFunc(f.subs, func(s *reader) bool { return s == r })
	for _, s := range r.fed {
		s.file.Close()
	}
	r.fed = nil
}

// passed says whether a reader at the end of a file's known part has given out everything that it is to. The caller
// holds log.mu.
func (r *reader) passed(s *segment) bool {
	u := r.until
	return u != nil && (s.gen > u.gen || s.gen == u.gen && s.size >= u.Offset)
}

// bounded is how much of a file is to be read. The caller holds log.mu.
func (r *reader) bounded(gen uint64, size int64) int64 {
	if u := r.until; u != nil && gen == u.gen {
		return min(size, u.Offset)
	}
	return size
}
