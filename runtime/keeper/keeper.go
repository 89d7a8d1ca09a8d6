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
// When the keeper itself is killed, Lost is closed, requests fail with ErrLost and the engine goes on with the
// files it has open; its containers then belong to the machine's init, which does not tell how they end.
package keeper

import (
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
	// ErrLost says that the keeper has died.
	ErrLost = errors.New("the keeper has died")
	// ErrUnknown says that an id has no registered process.
	ErrUnknown = errors.New("no process registered")
	// ErrRegistered says that an id has another process, which was not released.
	ErrRegistered = errors.New("another process is registered")
	// ErrReleased ends a Wait whose id is released meanwhile.
	ErrReleased = errors.New("process released")
)

var _ runtime.Reaper = (*Client)(nil)

// Client is the engine's connection to its keeper. All methods may be called concurrently.
type Client struct {
	sock *socket
	lost chan struct{} // closed when the reader has ended

	mu     sync.Mutex
	last   uint64 // seq and token: counts up from the time of connection, so that no other engine's is repeated
	calls  map[uint64]*call
	kept   map[string]*kept // mirrors the keeper's table: this engine is the only one that changes it
	closed bool
}

// kept is what the keeper has under an id.
type kept struct {
	process *process // nil: files only
	holdErr error    // why the keeper could not take files
}

// process is a registration.
type process struct {
	pid    int
	token  uint64
	ended  chan struct{} // closed when status or err is set
	status runtime.ExitStatus
	err    error
}

// call is a request that waits for its answer.
type call struct {
	names []string
	files []*os.File
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
		sock: sock, lost: make(chan struct{}), last: uint64(time.Now().UnixNano()),
		calls: map[uint64]*call{}, kept: map[string]*kept{},
	}
	go c.read()
	if _, err := c.request(wire.Message{Op: wire.OpList}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
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
	err := c.sock.close()
	<-c.lost
	return err
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
