package image

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"
)

// stallTime is how long a registry may keep a connection silent before it is taken for dead. A registry that checks a
// large layer at the end of an upload is silent for a while, too.
const stallTime = 90 * time.Second

// errStalled: a registry has stopped answering in the middle of something.
var errStalled = errors.New("the registry has stopped answering")

// noStalls makes a transport's connections end when they are silent for too long.
func noStalls(t *http.Transport, limit time.Duration) *http.Transport {
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: c, limit: limit}, nil
	}
	return t
}

type impatientConn struct {
	net.Conn
	limit time.Duration
}

func (c *impatientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	return n, stalled(err)
}

func (c *impatientConn) Write(p []byte) (int, error) {
	// A long answer is awaited from the end of the request on.
	now := time.Now().Add(c.limit)
	if err := errors.Join(c.SetWriteDeadline(now), c.SetReadDeadline(now)); err != nil {
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
