package build

import (
	"runtime/debug"
	"sync"
)

// sparingGC is how much garbage there may be, in percent of what is in use, while a build has very many files: BuildKit's
// records of them are what fills the memory then, and Go's usual 100 percent would double it.
const sparingGC = 25

// sparing has the collector run more often while builds need it, and give back what they have needed. It is the process's.
var sparing struct {
	mu     sync.Mutex
	builds int
	usual  int // percent
}

// spareMemory lets a build begin that may have very many files. many is called when it has, end when it has ended.
func spareMemory() (many, end func()) {
	begun := false
	many = func() {
		sparing.mu.Lock()
		defer sparing.mu.Unlock()
		if begun {
			return
		}
		if begun = true; sparing.builds == 0 {
			sparing.usual = debug.SetGCPercent(sparingGC)
		}
		sparing.builds++
	}
	end = func() {
		sparing.mu.Lock()
		defer sparing.mu.Unlock()
		if !begun {
			return
		}
		if sparing.builds--; sparing.builds == 0 {
			debug.SetGCPercent(sparing.usual)
			debug.FreeOSMemory()
		}
	}
	return many, end
}
