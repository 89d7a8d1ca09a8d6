// Package probe asks a container whether it is healthy without running a program in it: it connects to a port, or sends an
// HTTP request. How to connect into the container is the caller's; the answer is the container's and taken for hostile.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"tutti/scheduler/supervise"
)

// Limits on what is read of an answer, in bytes.
const (
	maxHeader = 64 << 10
	maxBody   = 4 << 10
)

// Dial connects to a TCP port of the container, whichever of its addresses listens.
type Dial func(ctx context.Context, port uint16) (net.Conn, error)

// TCP connects to a port and closes the connection again.
func TCP(ctx context.Context, dial Dial, port uint16) supervise.ProbeResult {
	return run(ctx, func(ctx context.Context) (int, string, error) {
		c, err := dial(ctx, port)
		if err != nil {
			return 1, "", err
		}
		_ = c.Close() // the connection was what was asked for
		return 0, fmt.Sprintf("connected to port %d", port), nil
	})
}

// HTTP sends a request and judges the status of the answer. Proxies of the environment are not used, redirects are not
// followed.
func HTTP(ctx context.Context, dial Dial, p *supervise.HTTPProbe) supervise.ProbeResult {
	return run(ctx, func(ctx context.Context) (int, string, error) {
		q, err := http.NewRequestWithContext(ctx, p.Method, p.URL, http.NoBody)
		if err != nil {
			return 1, "", err
		}
		q.Header.Set("User-Agent", "tutti-healthcheck")
		for k, v := range p.Headers {
			if strings.EqualFold(k, "Host") {
				q.Host = v
			}
			q.Header.Set(k, v)
		}
		answer, err := client(dial, p).Do(q)
		if err != nil {
			return 1, "", err
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(answer.Body, maxBody)) // the status has been given: an answer that is cut off counts
		text := "HTTP " + answer.Status
		if len(body) > 0 && utf8.Valid(body) {
			text += "\n" + string(body)
		}
		if !accepted(p.Status, answer.StatusCode) {
			return 1, text, nil
		}
		return 0, text, nil
	})
}

// accepted says whether a status is in one of the ranges, or a success or redirect when there are none.
func accepted(ranges [][2]int, status int) bool {
	if len(ranges) == 0 {
		ranges = [][2]int{{200, 399}}
	}
	for _, r := range ranges {
		if r[0] <= status && status <= r[1] {
			return true
		}
	}
	return false
}

// client is for one request: nothing of it is kept open.
func client(dial Dial, p *supervise.HTTPProbe) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: p.Insecure}, //nolint:gosec // the user's choice for this probe
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				_, text, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				port, err := net.LookupPort("tcp", text)
				if err != nil {
					return nil, err
				}
				return dial(ctx, uint16(port)) //nolint:gosec // LookupPort bounds it
			},
		},
	}
}

// run puts the times and the error into the result.
func run(ctx context.Context, ask func(context.Context) (int, string, error)) supervise.ProbeResult {
	r := supervise.ProbeResult{Start: time.Now().UTC()}
	code, output, err := ask(ctx)
	r.End, r.Code, r.Output = time.Now().UTC(), code, output
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Code, r.Output = -1, "the health check took longer than its timeout and was ended"
	case err != nil:
		r.Output = err.Error()
	}
	return r
}
