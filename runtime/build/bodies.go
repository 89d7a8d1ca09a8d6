package build

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// bodyHost ends the names of hosts that are none: behind each is the body of a request, which is a build's context.
const bodyHost = ".body.tutti.invalid"

// bodies lets BuildKit fetch contexts that came as a request's body, each once.
type bodies struct {
	next http.RoundTripper // for all other hosts

	mu   sync.Mutex
	open map[string]io.Reader // by host
}

func newBodies() *bodies { return &bodies{open: map[string]io.Reader{}} }

// add returns the URL by which a body can be fetched until remove is called.
func (b *bodies) add(body io.Reader) (url string, remove func()) {
	host := strings.ToLower(rand.Text()) + bodyHost
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[host] = body
	return "http://" + host + "/", func() { b.take(host) }
}

func (b *bodies) take(host string) io.Reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	body := b.open[host]
	delete(b.open, host)
	return body
}

// RoundTrip answers with a body, or asks the host.
func (b *bodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Host, bodyHost) {
		return b.next.RoundTrip(r)
	}
	if r.Method != http.MethodGet {
		return nil, errors.New("the body of a request can be read, and nothing else")
	}
	body := b.take(r.URL.Host)
	if body == nil {
		return nil, errors.New("the context came with the request, and has been read")
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(body),
		ContentLength: -1, Request: r,
	}, nil
}
