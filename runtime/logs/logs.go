// Package logs captures what containers write and gives it back.
//
// # Format
//
// A log is a file in Docker's json-file format, one record per line:
//
//	{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
//
// with Docker's rotation (NAME, NAME.1, NAME.2, ... the higher the older). As in Docker, a line longer than 16 KiB
// becomes several records, of which only the last one's text ends in a newline. Unlike Docker, text that does not
// end in a newline is recorded when it arrives, so a line may consist of several short records too; Docker's own
// readers print the same bytes either way. Read joins them again. A record without text says that the container has
// ended in the middle of a line.
//
// Bytes that are not UTF-8 are recorded as the lone surrogates \udc80 to \udcff (Python's surrogateescape, PEP
// 383). Read gives back the exact bytes; other JSON readers see U+FFFD, which is what Docker would have recorded.
//
// All records of a batch, up to 64 KiB that were captured at once, have one time. The next batch has a later one,
// also when the clock was set back meanwhile.
//
// # Exactly once
//
// Capture neither loses nor doubles a byte when the engine is killed at any moment, as long as the files of Pipes
// are kept open elsewhere (by the keeper). See Capture for how.
package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a log, as in Docker's max-size and max-file.
type Options struct {
	MaxSize  int64 // bytes; a file of this size or more is rotated before the next record; 0: never
	MaxFiles int   // how many files there may be, the current one included; less than 1 means 1
	// Attributes are written into every record, as docker's labels, env and tag options ask for.
	Attributes map[string]string
	// Resume are the pipes of a capture that an engine which has died had begun; records that it had not finished
	// are taken back before anybody can read them.
	Resume *Pipes
	// Volatile logs keep nothing: what is written while nobody is subscribed is dropped. MaxSize bounds what a
	// subscriber has on disk that keeps up.
	Volatile bool
	Logger   *slog.Logger // warned when the disk is full; may be nil
}

// File is one log: one writer, any number of readers in the same process.
type File struct {
	path       string
	opts       Options
	attributes []byte // JSON, or empty

	writer     sync.Mutex           // held while records are made, written and committed
	unfinished map[string]time.Time // streams whose last record does not end a line, and its time; nil: to be looked up

	mu    sync.Mutex
	cur   *os.File
	inode uint64
	gen   uint64 // counts rotations by this process
	// Of the writer.
	fullSince time.Time // since when the disk has been full; zero: it is not
	dropped   int64     // bytes of output since then

	size     int64 // committed bytes of cur; more may be in the file
	last     time.Time
	finished bool
	changed  chan struct{} // closed at the next change; nil when nobody waits
	subs     []*reader     // subscriptions that are to miss nothing
}

// Open opens the log at path, or begins it. Folder path's parent must exist. An incomplete record at the end, from
// a crash of the machine, is cut off.
func Open(path string, o Options) (*File, error) {
	f := &File{path: path, opts: o}
	if len(o.Attributes) > 0 {
		var err error
		if f.attributes, err = json.Marshal(o.Attributes); err != nil {
			return nil, fmt.Errorf("open log: attributes: %w", err)
		}
	}
	if err := f.openCurrent(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := f.prepare(); err != nil {
		f.cur.Close()
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return f, nil
}

func (f *File) prepare() error {
	size, last, err := soundEnd(f.cur, f.size)
	if err != nil {
		return err
	}
	if size < f.size {
		if err := f.cur.Truncate(size); err != nil {
			return err
		}
	}
	f.size, f.last = size, last
	if f.opts.Resume == nil {
		return nil
	}
	return f.takeBack(f.opts.Resume)
}

// openCurrent opens the file at path and takes its size as committed.
func (f *File) openCurrent() error {
	cur, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(cur.Fd()), &st); err != nil {
		cur.Close()
		return &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	f.cur, f.inode, f.size = cur, st.Ino, st.Size
	return nil
}

// Close ends all followers and closes the file. No capture may be running.
func (f *File) Close() error {
	f.Finish()
	return f.cur.Close()
}

// Finish says that nothing more is going to be written: followers end when they have read everything. A later
// Capture takes it back for those that come after.
func (f *File) Finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finished = true
	f.announce()
}

// announce wakes those who wait for a change; the caller holds mu.
func (f *File) announce() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// Remove deletes the log at path with its rotated files. Deleting it twice is no error.
func Remove(path string) error {
	err := os.Remove(path + nextSuffix) // left by a crash
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for i := 1; err == nil; i++ {
		err = os.Remove(rotated(path, i))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove log: %w", err)
	}
	return nil
}

// rotated returns the path of the i-th youngest file; 0 is the current one.
func rotated(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}
