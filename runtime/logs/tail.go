package logs

import (
	"bytes"
	"context"
	"io"
)

// tailStart is where to begin reading for the last lines, and which lines from there on are not among them:
// the pieces of two streams' lines may be interleaved, so that they cannot be cut apart at one place.
type tailStart struct {
	file     int // index into the files
	offset   int64
	skip     map[string]int  // so many finished lines of the stream
	dropTail map[string]bool // the stream's unfinished line at the end
	drop     int             // so many lines of any stream, where all is read
}

// tailScan goes backwards through the records.
type tailScan struct {
	want    int
	found   int
	streams map[string]*tailStream
	start   tailStart
	damaged bool // a record without text was counted that ends no line
}

// tailStream is what the scan knows of one stream.
type tailStream struct {
	taking  bool // the beginning of a wanted line is still to come
	joined  int  // bytes of that line so far
	skipped int  // unwanted finished lines since the last wanted record of any stream
}

// findTail finds the last n lines by reading backwards, in blocks, no further than needed.
func findTail(ctx context.Context, files []segment, n int) (tailStart, error) {
	s := &tailScan{want: n, streams: map[string]*tailStream{}}
	last := len(files) - 1
	s.start = tailStart{file: last, offset: files[last].size, skip: map[string]int{}, dropTail: map[string]bool{}}
	for i := last; i >= 0; i-- {
		done, err := backwards(files[i], func(offset int64, line []byte) bool {
			return s.line(i, offset, line)
		})
		if err != nil {
			return s.start, err
		}
		if done {
			break
		}
	}
	for _, st := range s.streams {
		s.damaged = s.damaged || st.taking && st.joined == 0
	}
	if s.damaged {
		return countedTail(ctx, files, n)
	}
	return s.start, nil
}

// countedTail is findTail by reading everything, for what only a damaged log has.
func countedTail(ctx context.Context, files []segment, n int) (tailStart, error) {
	count := 0
	r := &reader{files: files, joiner: newJoiner(ReadOptions{}, func(Entry) error { count++; return nil })}
	for range files {
		if err := r.readSegment(ctx); err != nil {
			return tailStart{}, err
		}
		r.files, r.offset = r.files[1:], 0
	}
	err := r.joiner.flush()
	return tailStart{drop: max(count-n, 0)}, err
}

// line takes the record at offset of file i; it returns true when no earlier one can matter.
func (s *tailScan) line(i int, offset int64, line []byte) (done bool) {
	rec, _, ok := parse(line, nil)
	if !ok {
		return false
	}
	st := s.streams[rec.stream]
	first := st == nil
	if first {
		st = &tailStream{}
		s.streams[rec.stream] = st
	}
	switch {
	case rec.ends() || first: // the end of a line
		s.damaged = s.damaged || st.taking && st.joined == 0 // nothing is between them
		st.taking = s.found < s.want
		st.joined = len(rec.piece)
		if st.taking {
			s.found++
			s.include(i, offset)
		} else if rec.ends() {
			st.skipped++
		} else {
			s.start.dropTail[rec.stream] = true
		}
	case st.taking: // a piece of one
		st.joined += len(rec.piece)
		s.include(i, offset)
		st.taking = st.joined < maxLine // begin a longer one in its middle
	}
	if s.found < s.want {
		return false
	}
	for _, st := range s.streams {
		if st.taking {
			return false
		}
	}
	return true
}

// include moves the start to a wanted record. The unwanted lines that lie behind it now must be left out.
func (s *tailScan) include(i int, offset int64) {
	s.start.file, s.start.offset = i, offset
	for name, st := range s.streams {
		s.start.skip[name] += st.skipped
		st.skipped = 0
	}
}

// backwards gives the lines of a file to visit, the last one first, until it returns true.
func backwards(s segment, visit func(offset int64, line []byte) bool) (done bool, err error) {
	buf := make([]byte, readBlock)
	end := s.size    // of the bytes not read yet
	var rest []byte  // the beginning of what has been read: the end of a line whose beginning is before
	tooLong := false // that line is longer than a record can be
	for end > 0 {
		n := min(end, readBlock)
		if _, err := s.file.ReadAt(buf[:n], end-n); err != nil && err != io.EOF {
			return false, err
		}
		end -= n
		block := append(bytes.Clone(buf[:n]), rest...)
		for {
			body := bytes.TrimSuffix(block, []byte{'\n'})
			i := bytes.LastIndexByte(body, '\n')
			if i < 0 {
				break
			}
			if !tooLong && visit(end+int64(i)+1, body[i+1:]) {
				return true, nil
			}
			tooLong, block = false, block[:i+1]
		}
		if rest = block; len(rest) > maxRecord {
			rest, tooLong = rest[len(rest)-1:], true
		}
	}
	if len(rest) > 0 && !tooLong {
		return visit(0, bytes.TrimSuffix(rest, []byte{'\n'})), nil
	}
	return false, nil
}
