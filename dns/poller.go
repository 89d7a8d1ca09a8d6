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
// The sockets are in an epoll set (epoll(7)) of the poller's. Were they in that of Go's runtime, every packet that comes in
// while those before it are being answered would wake a thread of the runtime. It gets to know of packets by way of a second
// set, the bell, which has nothing but the first set in it, for one event each time that the goroutine goes to sleep.
type poller struct {
	ctx     context.Context //nolint:containedctx // the poller's own lifetime
	sockets int             // the epoll set; -1 when the poller has ended
	bell    *os.File        // the other one
	raw     syscall.RawConn // of bell
	done    sync.WaitGroup
	events  [64]unix.EpollEvent
	batch   *batch
	query   query

	answered int       // requests since the last pause
	asleep   time.Time // since when the goroutine is, or was

	mu      sync.Mutex // held while a batch is answered: who has removed a client knows that it is not
	clients map[int32]*client
}

// startPoller starts a poller that ends with ctx. What comes in afterwards waits in the sockets, for whoever has them too.
func startPoller(ctx context.Context) (*poller, error) {
	p := &poller{ctx: ctx, sockets: -1, batch: newBatch(), clients: map[int32]*client{}}
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the resolver's sockets: %w", err), p.close())
	}
	context.AfterFunc(ctx, func() { _ = p.bell.Close() })
	p.done.Go(func() {
		for p.raw.Read(p.turn) == nil { // ends with the bell
		}
		_ = p.close()
	})
	return p, nil
}

func (p *poller) open() (err error) {
	if p.sockets, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	bell, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	if err := unix.SetNonblock(bell, true); err != nil { // so that os.NewFile takes it for one that can be waited for
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(bell))
	}
	p.bell = os.NewFile(uintptr(bell), "epoll")
	if p.raw, err = p.bell.SyscallConn(); err != nil {
		return err
	}
	return p.ring(bell, unix.EPOLL_CTL_ADD)
}

// ring has the bell ring once, now or when a socket has something.
func (p *poller) ring(bell, operation int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(bell, operation, p.sockets, &event))
}

func (p *poller) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets >= 0 {
		err = unix.Close(p.sockets)
		p.sockets = -1
	}
	if p.bell != nil {
		err = errors.Join(err, p.bell.Close())
	}
	return err
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

// add begins to answer what comes in on a client's socket.
func (p *poller) add(c *client) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.watch(c); err != nil {
		return fmt.Errorf("wait for the resolver's socket: %w", err)
	}
	p.clients[int32(c.udp)] = c //nolint:gosec // a descriptor
	return nil
}

// remove returns when the client's socket is not used any more.
func (p *poller) remove(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, int32(c.udp)) //nolint:gosec // a descriptor
	p.ignore(c)
}

func (p *poller) watch(c *client) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.udp)} //nolint:gosec // a descriptor
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.sockets, unix.EPOLL_CTL_ADD, c.udp, &event))
}

func (p *poller) ignore(c *client) {
	_ = unix.EpollCtl(p.sockets, unix.EPOLL_CTL_DEL, c.udp, nil) // it may be ignored already, and the set closed
}

// When clients ask one question after another, the goroutine waits for the next in the kernel, which costs a fraction of
// what it does to be put aside and woken by the runtime. It is for no more than a moment, because a thread is held meanwhile.
const (
	streak = 32               // so many requests without a pause are taken for the beginning of many
	pause  = time.Millisecond // what ends them
)

// turn answers batches until there is nothing more, and returns false, to sleep until the bell rings.
func (p *poller) turn(bell uintptr) bool {
	if time.Since(p.asleep) > pause {
		p.answered = 0
	}
	_ = p.ready(int(bell), 0) // it has rung
	for p.ctx.Err() == nil {
		patience := time.Duration(0)
		if p.answered >= streak {
			patience = pause
		}
		n := p.ready(p.sockets, patience)
		if n == 0 {
			break
		}
		for _, e := range p.events[:n] {
			p.answered += p.answer(e.Fd)
		}
	}
	if p.answered >= streak {
		p.answered = 0
	}
	p.asleep = time.Now()
	return p.ring(int(bell), unix.EPOLL_CTL_MOD) != nil // which is never: then it must not sleep
}

// ready finds the sockets in a set that have something, and returns how many.
func (p *poller) ready(set int, timeout time.Duration) int {
	for {
		n, err := unix.EpollWait(set, p.events[:], int(timeout.Milliseconds()))
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
	if c == nil {
		return 0
	}
	n, err := p.batch.read(c.udp)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		p.ignore(c)
		c.running.Go(func() {
			if !c.ended("read from the UDP socket", err) {
				p.again(c)
			}
		})
		return 0
	}
	c.answerBatch(p.batch, n, &p.query)
	return n
}

// again waits for a client's socket that could not be read, unless the client is gone.
func (p *poller) again(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[int32(c.udp)] != c { //nolint:gosec // a descriptor
		return
	}
	if err := p.watch(c); err != nil {
		c.server.config.Log.Error("resolver: wait for the UDP socket", "container", c.id, "error", err)
	}
}
