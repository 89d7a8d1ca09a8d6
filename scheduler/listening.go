package scheduler

import (
	"bytes"
	"context"
	"hash/maphash"
	"io"
	"os"
	"strconv"
	"time"

	"tutti/scheduler/container"
)

// How often the sockets of a container that is starting are looked at. A look costs some 40 µs: all of them together may
// use a twentieth of a processor.
const (
	lookPause   = 10 * time.Millisecond
	lookAtLeast = 20 // a pause is at least so many times what a look takes, times the containers that are starting
	lookAtMost  = 250 * time.Millisecond
	maxSockets  = 256 << 10 // bytes of /proc/net/tcp: with more than that it is no small look
)

// watchListeners tells when a process of the container begins to listen on a TCP port, while it is starting: that is when
// most services become ready, and so when a probe is worth it. Nothing can be told of a container in the host's network.
// stop waits for the end of it.
func (e *Engine) watchListeners(ctx context.Context, u *unit, pid int, starting *startingPhase) (nudge <-chan struct{}, stop func()) {
	if starting.over || u.config.NetworkMode == "host" {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	nudges := make(chan struct{}, 1)
	ended := make(chan struct{})
	e.wg.Go(func() {
		defer close(ended)
		seed := maphash.MakeSeed()
		var before uint64
		t := time.NewTimer(lookPause)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-starting.done:
				return
			case <-t.C:
			}
			began := time.Now()
			if u.snapshot().Status != container.Paused {
				now := listeners(seed, pid)
				if now != before && now != 0 {
					select {
					case nudges <- struct{}{}:
					default:
					}
				}
				before = now
			}
			cost := time.Since(began)
			t.Reset(min(max(lookPause, lookAtLeast*cost*time.Duration(e.starting.Load())), lookAtMost))
		}
	})
	return nudges, func() { cancel(); <-ended }
}

// listeners is a number that stands for the set of listening TCP sockets in a process's network namespace; 0 when there are
// none, or too many sockets to look at.
func listeners(seed maphash.Seed, pid int) uint64 {
	var sum uint64
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/" + name)
		if err != nil {
			continue // it has ended, or the kernel has no IPv6
		}
		b, err := io.ReadAll(io.LimitReader(f, maxSockets))
		_ = f.Close()
		if err != nil || len(b) == maxSockets {
			return 0
		}
		for line := range bytes.Lines(b) {
			// proc_net_tcp.txt: number, local address, remote address, state; 0A is TCP_LISTEN.
			if field := bytes.Fields(line); len(field) > 3 && string(field[3]) == "0A" && !ours(field[1]) {
				sum += maphash.Bytes(seed, field[1]) // the order means nothing
			}
		}
	}
	return sum
}

// ours tells whether an address is that of the resolver, 127.0.0.11 with any port, as /proc has it on a little-endian machine.
func ours(local []byte) bool { return bytes.HasPrefix(local, []byte("0B00007F:")) }
