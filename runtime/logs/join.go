package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	readBlock = 64 << 10
	maxRecord = 1 << 20 // a longer line of a log file is not one of its records
)

// errPastUntil ends a Read at the first record that is younger than wanted.
var errPastUntil = errors.New("past the end of the wanted time")

// readSegment gives every record of the first file, from offset to its valid size, to the joiner.
func (r *reader) readSegment(ctx context.Context) error {
	s := r.files[0]
	if r.buf == nil {
		r.buf = make([]byte, readBlock)
	}
	have := 0 // bytes of an incomplete line at the start of buf
	skipping := false
	for r.offset < s.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		if have == len(r.buf) {
			if len(r.buf) < maxRecord {
				r.buf = append(r.buf, make([]byte, len(r.buf))...)
			} else {
				have, skipping = 0, true
			}
		}
		want := min(int64(len(r.buf)-have), s.size-r.offset)
		n, err := s.file.ReadAt(r.buf[have:have+int(want)], r.offset)
		if n == 0 && err != nil && err != io.EOF {
			return fmt.Errorf("read log: %w", err)
		}
		if n == 0 {
			return nil // shorter than it was: somebody else has cut it
		}
		r.offset += int64(n)
		block := r.buf[:have+n]
		if skipping { // up to the end of the line that is too long
			i := bytes.IndexByte(block, '\n')
			if i < 0 {
				have = 0
				continue
			}
			block, skipping = block[i+1:], false
		}
		rest, err := r.joiner.lines(block)
		if err != nil {
			return err
		}
		have = copy(r.buf, rest)
	}
	return nil
}

// joiner turns records into entries.
type joiner struct {
	o       ReadOptions
	emit    func(Entry) error
	parsed  []byte
	pending map[string]*unfinished
	// What findTail wants left out: so many lines of a stream at the beginning, and its unfinished one at the end.
	skip     map[string]int
	dropTail map[string]bool
	drop     int
}

// lines takes the whole lines of a block, and returns what follows the last of them.
func (j *joiner) lines(block []byte) (rest []byte, err error) {
	for {
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			return block, nil
		}
		if err := j.line(block[:i]); err != nil {
			return nil, err
		}
		block = block[i+1:]
	}
}

// unfinished is the beginning of a line.
type unfinished struct {
	line []byte
	at   time.Time
}

func newJoiner(o ReadOptions, emit func(Entry) error) *joiner {
	return &joiner{o: o, emit: emit, pending: map[string]*unfinished{}}
}

// line takes one line of a log file. One that is no record is left out.
func (j *joiner) line(b []byte) error {
	rec, buf, ok := parse(b, j.parsed[:0])
	j.parsed = buf
	if !ok {
		return nil
	}
	if !j.o.Until.IsZero() && rec.at.After(j.o.Until) {
		return errPastUntil
	}
	if j.skip[rec.stream] > 0 {
		if rec.ends() {
			j.skip[rec.stream]--
		}
		return nil
	}
	if j.dropTail[rec.stream] {
		if rec.ends() { // finished meanwhile
			delete(j.dropTail, rec.stream)
		}
		return nil
	}
	p := j.pending[rec.stream]
	if j.o.Raw || rec.ends() && (p == nil || len(p.line) == 0) {
		if len(rec.piece) == 0 {
			return nil
		}
		return j.give(rec.at, rec.stream, rec.piece)
	}
	if p == nil {
		p = &unfinished{}
		j.pending[rec.stream] = p
	}
	if p.line, p.at = append(p.line, rec.piece...), rec.at; len(rec.piece) == 0 {
		p.line = append(p.line, '\n')
	}
	if !rec.ends() && len(p.line) < maxLine {
		return nil
	}
	err := j.give(rec.at, rec.stream, p.line)
	if p.line = p.line[:0]; cap(p.line) > readBlock {
		p.line = nil
	}
	return err
}

func (j *joiner) give(at time.Time, stream string, line []byte) error {
	if j.drop > 0 {
		j.drop--
		return nil
	}
	if at.Before(j.o.Since) {
		return nil
	}
	return j.emit(Entry{Time: at, Stream: stream, Line: line})
}

// flush gives out the unfinished lines, the one that ended first before the others.
func (j *joiner) flush() error {
	var streams []string
	for name, p := range j.pending {
		if len(p.line) > 0 {
			streams = append(streams, name)
		}
	}
	slices.SortFunc(streams, func(a, b string) int { return j.pending[a].at.Compare(j.pending[b].at) })
	for _, name := range streams {
		if err := j.give(j.pending[name].at, name, j.pending[name].line); err != nil {
			return err
		}
	}
	return nil
}
