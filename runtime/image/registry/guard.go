package registry

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

const (
	// maxAnswer bounds what a registry may answer where it is not asked for a blob, whose size is known beforehand.
	maxAnswer = 8 << 20
	// maxHeaders bounds the headers of an answer.
	maxHeaders = 256 << 10
	// maxRedirects is how often a request may be sent elsewhere.
	maxRedirects = 10
)

// errTooLarge: an answer that is no blob has more than maxAnswer bytes.
var errTooLarge = fmt.Errorf("the registry's answer has more than %d bytes", maxAnswer)

// guard binds a host's client to the rules of this package, and credentials to the host. onToken, if not nil, is told the
// identity token that a token server gives.
func (c *Clients) guard(h *docker.RegistryHost, auth Auth, onToken docker.OnFetchRefreshToken) {
	transport := &guardedTransport{host: *h, next: h.Client.Transport, remote: c.remote}
	header := h.Header
	h.Client = &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		return redirect(req, via, header)
	}}
	own := h.Host
	options := []docker.AuthorizerOpt{
		docker.WithAuthClient(&http.Client{Transport: transport, CheckRedirect: redirectToken}),
		docker.WithAuthCreds(func(asking string) (string, string, error) {
			// A host to which the registry has redirected may ask, too.
			if auth == nil || asking != own {
				return "", "", nil
			}
			return auth(Name(own))
		}),
	}
	if onToken != nil {
		options = append(options, docker.WithFetchRefreshToken(onToken))
	}
	h.Authorizer = docker.NewDockerAuthorizer(options...)
}

// redirect lets a registry lead to another host, where blobs are often kept, but not with what is meant for the registry:
// credentials, and the headers of its configuration. The standard library would keep them for other ports and subdomains.
func redirect(req *http.Request, via []*http.Request, header http.Header) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("the registry redirects more than %d times", maxRedirects)
	}
	if sameServer(req.URL, via[0].URL) {
		return nil
	}
	req.Header.Del("Authorization")
	for name := range header {
		req.Header.Del(name)
	}
	return nil
}

// redirectToken keeps requests for tokens, which hold credentials, where they were sent.
func redirectToken(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects || !sameServer(req.URL, via[0].URL) {
		return fmt.Errorf("the token server %s redirects to %s, where credentials are not sent", via[0].URL.Host, req.URL.Host)
	}
	return nil
}

// sameServer takes HTTP and HTTPS on a loopback address for the same: there, one is tried after the other.
func sameServer(a, b *url.URL) bool {
	return a.Host == b.Host && (a.Scheme == b.Scheme || docker.IsLocalhost(a.Host))
}

// guardedTransport refuses plain HTTP but where it is allowed, bounds answers, and turns a refusal to work into an error
// that says when to ask again.
type guardedTransport struct {
	host   docker.RegistryHost
	next   http.RoundTripper
	remote http.RoundTripper // for hosts that are not on a loopback address, where the registry itself is
}

func (g *guardedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	next := g.next
	if docker.IsLocalhost(g.host.Host) && !docker.IsLocalhost(req.URL.Host) {
		next = g.remote // there, certificates count
	}
	if req.URL.Scheme != "https" && !g.mayBePlain(req.URL) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("registry %s leads to plain HTTP on %s, which is refused", g.host.Host, req.URL.Host)
	}
	resp, err := next.RoundTrip(req)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && req.Context().Err() == nil {
		return nil, fmt.Errorf("%w: %v", errStalled, err) //nolint:errorlint // containerd would repeat what timed out
	}
	if err != nil {
		return nil, err
	}
	if busy := busyAnswer(resp); busy != nil {
		resp.Body.Close()
		return nil, busy
	}
	if !wantsBlob(req) {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, nil
}

// mayBePlain allows plain HTTP from a loopback address to a loopback address, and on a host that is configured for it.
func (g *guardedTransport) mayBePlain(to *url.URL) bool {
	if docker.IsLocalhost(g.host.Host) && docker.IsLocalhost(to.Host) {
		return true
	}
	configured := url.URL{Host: g.host.Host}
	return g.host.Scheme == "http" && configured.Hostname() == to.Hostname()
}

// wantsBlob tells whether a request, or the one that was redirected to it, is for a blob.
func wantsBlob(req *http.Request) bool {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return strings.Contains(req.URL.Path, "/blobs/")
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// isPlainHTTP recognises the answer of a server that speaks no TLS.
func isPlainHTTP(err error) bool { return errors.Is(err, http.ErrSchemeMismatch) }
