package logs

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxBoundaryScan bounds how far back the end of a log is searched for unfinished lines, in bytes.
const maxBoundaryScan = 256 << 10

// Begin takes Finish back: the container is about to be started again, and who follows from now on waits for what
// it is going to write.
func (f *File) Begin() error {
	f.mu.Lock()
	f.finished = false
	f.mu.Unlock()
	return f.EndRun()
}

// EndRun keeps the last words of a run apart from the first ones of the next: where a line has not been finished, a
// record without text says that nothing follows. Docker's readers print nothing for it. Doing it again changes nothing.
// No capture may be running.
func (f *File) EndRun() error {
	f.writer.Lock()
	defer f.writer.Unlock()
	if err := f.loadUnfinished(); err != nil {
		return fmt.Errorf("end the run in log %s: %w", f.path, err)
	}
	streams := slices.SortedFunc(maps.Keys(f.unfinished), func(a, b string) int { return f.unfinished[a].Compare(f.unfinished[b]) })
	for _, stream := range streams { // the line that stopped first ends first
		b := appendRecord(nil, nil, recordEnd(stream, f.stamp(), f.attributes))
		if _, err := f.cur.WriteAt(b, f.size); err != nil { // also on a full disk: a container that ends must not wait for it
			return fmt.Errorf("end the run in log %s: %w", f.path, err)
		}
		delete(f.unfinished, stream)
		f.publish(int64(len(b)))
	}
	return nil
}

// loadUnfinished finds out which streams' last records do not end a line. The caller holds writer.
func (f *File) loadUnfinished() error {
	if f.unfinished != nil {
		return nil
	}
	known := map[string]time.Time{}
	seen := map[string]bool{}
	_, err := backwards(segment{file: f.cur, size: f.size}, func(offset int64, line []byte) (done bool) {
		if r, _, ok := parse(line, nil); ok {
			if !seen[r.stream] && !r.ends() {
				known[r.stream] = r.at
			}
			seen[r.stream] = true
		}
		return len(seen) == 2 || f.size-offset > maxBoundaryScan
	})
	if err == nil {
		f.unfinished = known
	}
	return err
}

// noteEnd remembers whether a stream's last record ends a line. The caller holds writer.
func (f *File) noteEnd(stream string, at time.Time, data []byte) {
	switch {
	case f.unfinished == nil || len(data) == 0:
	case data[len(data)-1] == '\n':
		delete(f.unfinished, stream)
	default:
		f.unfinished[stream] = at
	}
}
