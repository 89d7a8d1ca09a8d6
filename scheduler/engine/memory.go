package engine

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// quiet is how long nobody has asked for anything before the engine gives back memory.
const quiet = 250 * time.Millisecond

// returnMemory gives back what the engine used to answer and does not need to watch: freed heap, and the pages of its own
// program that are only mapped, not used any more. The kernel maps 16 pages around each one that is touched
// (fault_around_bytes), most of a large binary after a while; dropped pages come back from the page cache when they are
// touched again.
func returnMemory() error {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(maps) {
		var from, to uintptr
		var perm, offset, dev, inode, path string
		if n, _ := fmt.Sscanf(string(line), "%x-%x %s %s %s %s %s", &from, &to, &perm, &offset, &dev, &inode, &path); n < 7 || path != exe || strings.Contains(perm, "w") {
			continue
		}
		// Never written to, so nothing is lost: madvise(2), MADV_DONTNEED.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back the pages of the program: %w", errno)
		}
	}
	return nil
}

// wasAsked says that something was done which may have left memory to return.
func (e *Engine) wasAsked() {
	select {
	case e.asked <- struct{}{}:
	default:
	}
}

// economize returns memory whenever requests have come and no further one has for a while, until the engine ends.
func (e *Engine) economize() {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.asked:
			timer.Reset(quiet)
		case <-timer.C:
			if err := returnMemory(); err != nil {
				e.Log.Warn("return memory", "error", err)
				return
			}
		}
	}
}
