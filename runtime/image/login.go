package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// ErrCredentials says that the registry refuses user and password.
var ErrCredentials = errors.New("incorrect username or password")

// Login asks a registry whether it takes the credentials; host is as in image names. It returns ErrCredentials when it
// does not.
func (s *Store) Login(ctx context.Context, host string, auth Auth) error {
	hosts, err := s.clients.hosts(auth)(RegistryName(host))
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if h.Capabilities.Has(docker.HostCapabilityPush) { // the registry, not a mirror of it
			return login(ctx, h)
		}
	}
	return fmt.Errorf("registry %s: its configuration has mirrors only", host)
}

func login(ctx context.Context, h docker.RegistryHost) error {
	// The API's base is there to be asked (https://distribution.github.io/distribution/spec/api/#api-version-check).
	url := h.Scheme + "://" + h.Host + h.Path + "/"
	var challenges []*http.Response
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if err := h.Authorizer.Authorize(ctx, req); err != nil {
			return loginError(h.Host, err)
		}
		resp, err := h.Client.Do(req)
		if err != nil {
			return fmt.Errorf("registry %s: %w", h.Host, err)
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxManifest)) // the connection is used again
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusOK:
			return nil
		case resp.StatusCode != http.StatusUnauthorized:
			return fmt.Errorf("registry %s answers %s", h.Host, resp.Status)
		}
		challenges = append(challenges, resp)
		if err := h.Authorizer.AddResponses(ctx, challenges); err != nil {
			return loginError(h.Host, err)
		}
	}
	return fmt.Errorf("registry %s: %w", h.Host, ErrCredentials)
}

func loginError(host string, err error) error {
	if errors.Is(err, docker.ErrInvalidAuthorization) || errdefs.IsUnauthorized(err) {
		return fmt.Errorf("registry %s: %w", host, ErrCredentials)
	}
	return fmt.Errorf("registry %s: %w", host, err)
}
