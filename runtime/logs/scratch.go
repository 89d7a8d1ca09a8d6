package logs

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	batchBytes   = 64 << 10  // a pipe's usual capacity
	keptOutBytes = 512 << 10 // larger buffers for records are not kept
	keptScratch  = 4
)

// scratch is what one batch needs: a pipe to look into the staging pipe without emptying it, and buffers. Few
// exist, however many containers there are.
type scratch struct {
	r, w int
	in   []byte
	out  []byte
}

var scratches struct {
	sync.Mutex
	free []*scratch
}

func getScratch() (*scratch, error) {
	scratches.Lock()
	if n := len(scratches.free); n > 0 {
		s := scratches.free[n-1]
		scratches.free = scratches.free[:n-1]
		scratches.Unlock()
		return s, nil
	}
	scratches.Unlock()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &scratch{r: fds[0], w: fds[1], in: make([]byte, batchBytes)}, nil
}

// put gives s back; one whose pipe may not be empty must be closed instead.
func (s *scratch) put() {
	if cap(s.out) > keptOutBytes {
		s.out = nil
	}
	scratches.Lock()
	keep := len(scratches.free) < keptScratch
	if keep {
		scratches.free = append(scratches.free, s)
	}
	scratches.Unlock()
	if !keep {
		s.close()
	}
}

func (s *scratch) close() {
	unix.Close(s.r)
	unix.Close(s.w)
}

// peek copies the first bytes of pipe, at most n, without taking them out.
func (s *scratch) peek(pipe, n int) ([]byte, error) {
	got, err := retry(func() (int, error) {
		m, err := unix.Tee(pipe, s.w, min(n, len(s.in)), unix.SPLICE_F_NONBLOCK)
		return int(m), err
	})
	if err != nil {
		return nil, os.NewSyscallError("tee", err)
	}
	// A pipe in packet mode (pipe2(2), O_DIRECT), which the container may choose, gives one packet at a time.
	for have := 0; have < got; {
		m, err := retry(func() (int, error) { return unix.Read(s.r, s.in[have:got]) })
		if err != nil {
			return nil, os.NewSyscallError("read", err)
		}
		have += m
	}
	return s.in[:got], nil
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
