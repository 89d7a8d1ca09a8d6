package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// ErrCredentials says that the registry refuses user and password.
var ErrCredentials = errors.New("incorrect username or password")

// maxChallenges is how often a request is repeated because the registry wants to know more of who asks.
const maxChallenges = 3

// Login asks a registry whether it takes the credentials; host is as in image names. It returns ErrCredentials when it
// does not, and the identity token that the registry's token server gives instead of a password, if it gives one.
func (c *Clients) Login(ctx context.Context, host string, auth Auth) (identity string, err error) {
	var mu sync.Mutex
	h, err := c.origin(host, auth, func(_ context.Context, token string, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		identity = token
	})
	if err != nil {
		return "", err
	}
	// The API's base is there to be asked (https://distribution.github.io/distribution/spec/api/#api-version-check).
	resp, err := ask(ctx, h, h.Scheme+"://"+h.Host+h.Path+"/")
	if err != nil {
		return "", Explain(credentialsError(err), host)
	}
	resp.Body.Close()
	mu.Lock()
	defer mu.Unlock()
	return identity, nil
}

// origin is the registry itself, not a mirror of it.
func (c *Clients) origin(name string, auth Auth, onToken docker.OnFetchRefreshToken) (docker.RegistryHost, error) {
	hosts, err := c.hosts(Name(name))
	if err != nil {
		return docker.RegistryHost{}, err
	}
	for _, h := range hosts {
		if h.Capabilities.Has(docker.HostCapabilityPush) {
			c.guard(&h, auth, onToken)
			return h, nil
		}
	}
	return docker.RegistryHost{}, fmt.Errorf("registry %s: its configuration has mirrors only", name)
}

// ask gets what is at an address, with the credentials that the registry asks for.
func ask(ctx context.Context, h docker.RegistryHost, url string) (*http.Response, error) {
	var challenges []*http.Response
	for range maxChallenges {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Header, h.Header)
		if err := h.Authorizer.Authorize(ctx, req); err != nil {
			return nil, err
		}
		resp, err := h.Client.Do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		if resp.StatusCode != http.StatusUnauthorized {
			err := remoteerrors.NewUnexpectedStatusErr(resp)
			resp.Body.Close()
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body) // the connection is used again
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		challenges = append(challenges, resp)
		if err := h.Authorizer.AddResponses(ctx, challenges); err != nil {
			return nil, err
		}
	}
	return nil, docker.ErrInvalidAuthorization
}

// credentialsError says ErrCredentials of whatever means that.
func credentialsError(err error) error {
	var status remoteerrors.ErrUnexpectedStatus
	if errors.Is(err, docker.ErrInvalidAuthorization) || errdefs.IsUnauthorized(err) ||
		errors.As(err, &status) && status.StatusCode == http.StatusUnauthorized {
		return ErrCredentials
	}
	return err
}
