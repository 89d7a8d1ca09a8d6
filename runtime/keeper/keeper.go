// Package keeper is the engine's side of its keeper, and the starter of both.
//
// The keeper (package server, run by cmd/tutti-init under the name tutti-keeper) is the parent of the engine and
// of every container. It reaps the containers and remembers how they ended, it holds open what must survive
// the engine (log pipes, terminals, sockets), and it starts the engine again when it dies. Containers notice
// neither.
//
//	client ── Start ──► keeper ── fork, exec ──► engine
//	                      │ ▲                      │
//	                      │ └── socketpair: Hold, Take, Register, Release, exits
//	                      └──── containers (cloned by the engine with CLONE_PARENT)
//
// An engine calls Connect before it starts any other process, and Ready once it serves. After a crash the
// new engine finds in Held what its predecessor had left, with Take the files and with Wait the exits.
//
// When the keeper itself is killed, Lost is closed. The engine has everything that the keeper had, and starts another with
// Bequeath, which takes that over and starts another engine. The containers then belong to the machine's init; the new
// keeper sees their ends through their pidfds. Since this engine is at its end, whatever it asks of the lost keeper stays
// unanswered, as if the engine had been killed at that point: an error would make it give up containers that go on.
package keeper

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/runtime/keeper/wire"
)

var (
	// ErrNoKeeper is returned by Connect in a process that no keeper has started.
	ErrNoKeeper = errors.New("not started by a keeper")
	// ErrLost says that the keeper has died, or the client is closed.
	ErrLost = errors.New("the keeper has died")
	// ErrUnknown says that an id has no registered process.
	ErrUnknown = errors.New("no process registered")
	// ErrRegistered says that an id has another process, which was not released.
	ErrRegistered = errors.New("another process is registered")
	// ErrReleased ends a Wait whose id is released meanwhile.
	ErrReleased = errors.New("process released")
	// ErrUnseen says that a process has ended, but how is not known: its keeper had died, or its keeper and its engine.
	ErrUnseen = errors.New("nobody saw how it ended: the keeper had been killed")
)

var _ runtime.Reaper = (*Client)(nil)

// Client is the engine's connection to its keeper. All methods may be called concurrently.
type Client struct {
	sock *socket
	lost chan struct{} // closed when the reader has ended
	over chan struct{} // closed by Close

	mu     sync.Mutex
	last   uint64 // seq and token: counts up from the time of connection, so that no other engine's is repeated
	calls  map[uint64]*call
	kept   map[string]*kept // mirrors the keeper's table: this engine is the only one that changes it
	closed bool

	parent  int     // the keeper's pid
	version int     // of the language that the keeper speaks
	legacy  *socket // to the successor of a keeper that has died; held open until this process ends
}

// kept is what the keeper has under an id.
type kept struct {
	process *process // nil: files only
	files   held
	holdErr error // why the keeper could not take files
}

// process is a registration.
type process struct {
	pid    int
	token  uint64
	pidfd  int           // -1: none could be opened, for it has ended
	ended  chan struct{} // closed when status or err is set
	status runtime.ExitStatus
	err    error
}

// call is a request that waits for its answer.
type call struct {
	seq   uint64
	names []string
	fds   []int
	err   error
	done  chan struct{}
}

// Connect takes over the socket that the keeper has left to this process and learns what is kept. It makes the
// socket close-on-exec, so call it before starting other processes.
func Connect() (*Client, error) {
	fd, err := inherited()
	if err != nil {
		return nil, err
	}
	c, err := connect(fd)
	if err != nil {
		return nil, fmt.Errorf("connect to the keeper: %w", err)
	}
	return c, nil
}

func connect(fd int) (*Client, error) {
	sock, err := newSocket(fd)
	if err != nil {
		return nil, err
	}
	c := &Client{
		sock: sock, lost: make(chan struct{}), over: make(chan struct{}), last: uint64(time.Now().UnixNano()),
		calls: map[uint64]*call{}, kept: map[string]*kept{}, version: 1, parent: os.Getppid(),
	}
	if v, err := strconv.Atoi(os.Getenv(wire.EnvVersion)); err == nil {
		c.version = v
	}
	go c.read()
	if err := c.learn(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// learn asks the keeper for everything that it has: this engine needs it should the keeper die.
func (c *Client) learn() error {
	if c.version < wire.Oldest {
		return fmt.Errorf("it speaks version %d of the language between engine and keeper, %d is the oldest that this engine knows", c.version, wire.Oldest)
	}
	if _, err := c.request(wire.Message{Op: wire.OpList}); err != nil {
		return err
	}
	answers := map[string]*call{}
	var failed error
	for _, id := range c.Held() {
		answer, err := c.ask(wire.Message{Op: wire.OpTake, ID: id})
		if err != nil {
			failed = err
			break
		}
		answers[id] = answer
	}
	for id, answer := range answers {
		if err := c.await(answer); err != nil {
			failed = cmp.Or(failed, fmt.Errorf("take files of %s: %w", id, err))
			continue
		}
		files := held{}
		for i, name := range answer.names {
			files[name] = answer.fds[i]
		}
		c.mu.Lock()
		c.at(id).files = files
		c.mu.Unlock()
	}
	return failed
}

// Lost is closed when the keeper has died, or after Close.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Close ends the connection, not what the keeper holds, and waits for the reader to finish.
func (c *Client) Close() error {
	c.mu.Lock()
	wasClosed := c.closed
	c.closed = true
	c.mu.Unlock()
	if wasClosed {
		return nil
	}
	close(c.over)
	err := c.sock.close()
	<-c.lost
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kept {
		k.forget()
	}
	return err
}

// unanswered returns err, but that of a lost keeper only after Close: see the package.
func (c *Client) unanswered(err error) error {
	if errors.Is(err, ErrLost) {
		<-c.over
	}
	return err
}

// forget closes what this process has of an id.
func (k *kept) forget() {
	k.files.close()
	k.files = nil
	if k.process != nil && k.process.pidfd >= 0 {
		_ = unix.Close(k.process.pidfd)
		k.process.pidfd = -1
	}
}

// Ready tells the starters that the engine serves, or why it cannot (err). After an error the engine should
// exit with a status other than 0. It does nothing in a process that no keeper has started.
func Ready(err error) {
	fd, noKeeper := inherited()
	if noKeeper != nil {
		return
	}
	m := wire.Message{Op: wire.OpReady}
	if err != nil {
		m.Text = err.Error()
		if m.Text == "" {
			m.Text = "unknown error"
		}
	}
	// A keeper that is gone has no starter to tell.
	_ = unix.Sendmsg(fd, m.Append(nil), nil, nil, unix.MSG_NOSIGNAL)
}

// Stopping announces that the engine is about to exit with status 0. Call it before the engine's socket is
// closed: starters that come from now on wait for the keeper to be gone and start another, instead of being told
// that all is ready.
func (c *Client) Stopping() error {
	return c.sock.send(wire.Message{Op: wire.OpStopping}, nil)
}

// inherited returns the descriptor that the keeper has left to its engine.
func inherited() (int, error) {
	v := os.Getenv(wire.EnvFD)
	if v == "" {
		return -1, ErrNoKeeper
	}
	fd, err := strconv.Atoi(v)
	if err != nil {
		return -1, fmt.Errorf("%s=%q: %w", wire.EnvFD, v, ErrNoKeeper)
	}
	return fd, nil
}
