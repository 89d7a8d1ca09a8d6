package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for the UDP sockets of all clients in one goroutine and answers what comes in: a batch from one socket, then
// a batch from the next. An idle client costs neither a goroutine nor a buffer.
//
// The sockets are in an epoll set (epoll(7)) of the poller's, each for one event at a time (EPOLLONESHOT), and the set is in
// that of Go's runtime. A socket that was in the latter itself would wake a thread of the runtime for every packet that comes
// in while those before it are being answered.
type poller struct {
	file   *os.File // the epoll set
	raw    syscall.RawConn
	done   sync.WaitGroup
	events [64]unix.EpollEvent
	batch  *batch
	query  query
	wait   [1]unix.PollFd

	answered int       // requests since the last pause
	asleep   time.Time // since when the runtime has put the goroutine aside; zero when it has not

	mu      sync.Mutex // held while a batch is answered: who has removed a client knows that it is not
	clients map[int32]*client
}

// startPoller starts a poller that ends with ctx. What comes in afterwards waits in the sockets, for whoever has them too.
func startPoller(ctx context.Context) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set for the resolver's sockets: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // for os.NewFile: one that can be waited for
		return nil, errors.Join(fmt.Errorf("prepare the epoll set of the resolver's sockets: %w", err), unix.Close(epoll))
	}
	p := &poller{file: os.NewFile(uintptr(epoll), "epoll"), batch: newBatch(), clients: map[int32]*client{}}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the resolver's sockets: %w", err), p.file.Close())
	}
	context.AfterFunc(ctx, func() { _ = p.file.Close() })
	p.done.Go(func() {
		for p.raw.Read(p.turn) == nil { // ends with the file
		}
	})
	return p, nil
}

// receiveBuffer is how much a socket holds of what was not read yet, in bytes as the kernel counts them: a thousand queries.
// What comes beyond is lost, and clients ask again after seconds.
const receiveBuffer = 512 << 10

// takeSocket takes a socket out of the hands of Go's runtime.
func takeSocket(udp *net.UDPConn) (fd int, err error) {
	raw, err := udp.SyscallConn()
	if err == nil {
		controlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
		err = errors.Join(controlErr, err)
	}
	closeErr := udp.Close()
	if err != nil {
		return -1, fmt.Errorf("take over the resolver's UDP socket: %w", errors.Join(err, closeErr))
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as is allowed
	}
	return fd, nil
}

// control changes what is waited for: one event of a client's socket, or none any more.
func (p *poller) control(operation int, c *client) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(c.udp)} //nolint:gosec // a descriptor
	var err error
	closed := p.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), operation, c.udp, &event) })
	return errors.Join(closed, err)
}

// add begins to answer what comes in on a client's socket.
func (p *poller) add(c *client) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.control(unix.EPOLL_CTL_ADD, c); err != nil {
		return fmt.Errorf("wait for the resolver's socket: %w", err)
	}
	p.clients[int32(c.udp)] = c //nolint:gosec // a descriptor
	return nil
}

// remove returns when the client's socket is not used any more.
func (p *poller) remove(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, int32(c.udp))      //nolint:gosec // a descriptor
	_ = p.control(unix.EPOLL_CTL_DEL, c) // the set may be closed already
}

// When clients ask one question after another, the goroutine waits for the next in the kernel, which costs a fraction of
// what it does to be put aside and woken by the runtime. It is for no more than a moment, because a thread is held meanwhile.
const (
	streak = 32                     // so many requests without a pause are taken for the beginning of many
	pause  = 200 * time.Microsecond // what ends them
)

// turn answers a batch of every socket that has something, and returns false if there is none.
func (p *poller) turn(epoll uintptr) bool {
	n := p.ready(int(epoll))
	if n == 0 && p.answered >= streak {
		timeout := unix.NsecToTimespec(int64(pause))
		p.wait[0] = unix.PollFd{Fd: int32(epoll), Events: unix.POLLIN} //nolint:gosec // a descriptor
		_, _ = unix.Ppoll(p.wait[:], &timeout, nil)
		if n = p.ready(int(epoll)); n == 0 {
			p.answered = 0
		}
	}
	if n == 0 {
		p.asleep = time.Now()
		return false
	}
	if !p.asleep.IsZero() && time.Since(p.asleep) > pause {
		p.answered = 0
	}
	p.asleep = time.Time{}
	for _, e := range p.events[:n] {
		p.answered += p.answer(e.Fd)
	}
	return true
}

// ready finds the sockets that have something, and returns how many.
func (p *poller) ready(epoll int) int {
	for {
		n, err := unix.EpollWait(epoll, p.events[:], 0)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0)
		}
	}
}

// answer reads and answers a batch, unless the client is gone. It returns how many requests that were.
func (p *poller) answer(fd int32) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[fd]
	if c == nil || c.ctx.Err() != nil {
		return 0
	}
	n, err := p.batch.read(c.udp)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		c.running.Go(func() {
			if !c.ended("read from the UDP socket", err) {
				p.again(c)
			}
		})
		return 0
	}
	c.answerBatch(p.batch, n, &p.query)
	_ = p.control(unix.EPOLL_CTL_MOD, c) // fails with the set alone
	return n
}

// again waits for a client's socket that could not be read, unless the client is gone.
func (p *poller) again(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[int32(c.udp)] == c { //nolint:gosec // a descriptor
		_ = p.control(unix.EPOLL_CTL_MOD, c) // fails with the set alone
	}
}
