package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// stallTime is how long a registry may be waited for, for each minProgress bytes. A registry that checks a large layer
	// at the end of an upload is silent for a while, too.
	stallTime   = 90 * time.Second
	minProgress = 1 << 10
)

// errStalled: a registry has stopped answering in the middle of something.
var errStalled = errors.New("the registry has stopped answering")

// bounded makes a transport's connections end when they are silent, or nearly so, for too long, and bounds what an answer
// may have of headers.
func (c *Clients) bounded(t *http.Transport) *http.Transport {
	t.MaxResponseHeaderBytes = maxHeaders
	dial, limit := t.DialContext, c.options.Stall
	if c.options.Dial != nil {
		dial = c.options.Dial
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: c, limit: limit}, nil
	}
	return t
}

// impatientConn counts how long its reader waits: what the reader does between two calls is not the other side's fault.
type impatientConn struct {
	net.Conn
	limit time.Duration

	mu       sync.Mutex // one goroutine reads while another writes
	waited   time.Duration
	progress int // bytes since waited was 0
}

func (c *impatientConn) Read(p []byte) (int, error) {
	begin := time.Now()
	c.mu.Lock()
	err := c.SetReadDeadline(begin.Add(c.limit - c.waited))
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waited += time.Since(begin)
	if c.progress += n; c.progress >= minProgress {
		c.waited, c.progress = 0, 0
	}
	return n, stalled(err)
}

func (c *impatientConn) Write(p []byte) (int, error) {
	// An answer is awaited from the end of the request on.
	now := time.Now().Add(c.limit)
	c.mu.Lock()
	c.waited, c.progress = 0, 0
	err := errors.Join(c.SetWriteDeadline(now), c.SetReadDeadline(now))
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	return n, stalled(err)
}

func stalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	return err
}
