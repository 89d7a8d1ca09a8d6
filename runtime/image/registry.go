package image

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	hubHost     = "docker.io"            // as in image names
	hubRegistry = "registry-1.docker.io" // what serves it
)

// Auth returns user and password (or token) for a registry; host is as in image
// names, "docker.io" for Docker Hub. Two empty strings mean anonymous access; an
// empty user makes the secret an identity token.
type Auth func(host string) (user, secret string, err error)

// RegistryName is the host of a registry as it is in image names: "docker.io" for
// the several addresses of Docker Hub.
func RegistryName(host string) string {
	switch host {
	case hubRegistry, "index.docker.io", "auth.docker.io", "registry.hub.docker.com":
		return hubHost
	}
	return host
}

// certsDirs hold, in a folder per registry (":" of a port may be written "_", with one more at the end), a hosts.toml of
// containerd's or docker's certificates: mirrors, plain HTTP, CA bundles, client certificates
// (https://github.com/containerd/containerd/blob/main/docs/hosts.md). The first folder that knows a registry counts.
var certsDirs = []string{"/etc/tutti/certs.d", "/etc/docker/certs.d"}

// registryClients are shared by all transfers, so that connections are used again.
type registryClients struct {
	remote   *http.Client // HTTPS, checked with the host's certificates
	loopback *http.Client // any certificate, or plain HTTP
	dirs     []string
}

func newRegistryClients() registryClients {
	transport := func(c *tls.Config) *http.Transport { return noStalls(docker.DefaultHTTPTransport(c), stallTime) }
	insecure := transport(&tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // loopback only, as in docker
	return registryClients{
		remote:   &http.Client{Transport: transport(&tls.Config{MinVersion: tls.VersionTLS12})},
		loopback: &http.Client{Transport: docker.NewHTTPFallback(insecure)},
		dirs:     certsDirs,
	}
}

func (c registryClients) close() {
	c.remote.CloseIdleConnections()
	c.loopback.CloseIdleConnections()
}

// hosts tells how registries are reached: HTTPS, and on a loopback address also plain HTTP or an unknown certificate,
// which is docker's rule; or what the host's configuration says.
func (c registryClients) hosts(auth Auth) docker.RegistryHosts {
	return func(host string) ([]docker.RegistryHost, error) {
		for _, dir := range c.dirs {
			found, err := config.HostDirFromRoot(dir)(host)
			if err == nil {
				return c.configured(found, auth)(host)
			}
			if !errdefs.IsNotFound(err) {
				return nil, fmt.Errorf("configuration of registry %s: %w", host, err)
			}
		}
		return c.usual(host, auth)
	}
}

// configured follows the files in dir. Each mirror is asked with its own credentials, if the user has any.
func (c registryClients) configured(dir string, auth Auth) docker.RegistryHosts {
	return config.ConfigureHosts(context.Background(), config.HostOptions{ //nolint:contextcheck // only to log with
		HostDir: func(string) (string, error) { return dir, nil },
		Credentials: func(host string) (string, string, error) {
			if auth == nil {
				return "", "", nil
			}
			return auth(RegistryName(host))
		},
		UpdateClient: func(client *http.Client) error {
			if t, ok := client.Transport.(*http.Transport); ok {
				client.Transport = noStalls(t, stallTime)
			}
			return nil
		},
	})
}

func (c registryClients) usual(host string, auth Auth) ([]docker.RegistryHost, error) {
	client, scheme, address := c.remote, "https", host
	local, err := docker.MatchLocalhost(host)
	if err != nil {
		return nil, fmt.Errorf("registry host %q: %w", host, err)
	}
	if local {
		client = c.loopback
		if _, port, err := net.SplitHostPort(host); err == nil && port == "80" {
			scheme = "http"
		}
	}
	if host == hubHost {
		address = hubRegistry
	}
	options := []docker.AuthorizerOpt{docker.WithAuthClient(client)}
	if auth != nil {
		options = append(options, docker.WithAuthCreds(func(string) (string, string, error) { return auth(host) }))
	}
	return []docker.RegistryHost{{
		Client:       client,
		Authorizer:   docker.NewDockerAuthorizer(options...),
		Host:         address,
		Scheme:       scheme,
		Path:         "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve | docker.HostCapabilityPush | docker.HostCapabilityReferrers,
	}}, nil
}

// remoteImage is an image in a registry, as the transfer service wants it: source
// of a pull and target of a push.
type remoteImage struct {
	name     string
	resolver remotes.ResolverWithOptions
}

func (c registryClients) image(name string, auth Auth) *remoteImage {
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: c.hosts(auth)})
	return &remoteImage{name: name, resolver: resolver.(remotes.ResolverWithOptions)}
}

func (r *remoteImage) String() string { return Familiar(r.name) }

func (r *remoteImage) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return r.resolver.Resolve(ctx, r.name)
}

func (r *remoteImage) SetResolverOptions(options ...transfer.ImageResolverOption) {
	r.resolver.SetOptions(options...)
}

func (r *remoteImage) Fetcher(ctx context.Context, name string) (transfer.Fetcher, error) {
	return r.resolver.Fetcher(ctx, name)
}

func (r *remoteImage) Pusher(ctx context.Context, desc ocispec.Descriptor) (transfer.Pusher, error) {
	ref := r.name
	if !strings.Contains(ref, "@") {
		ref += "@" + desc.Digest.String() // containerd: the tag is set with this manifest and no other
	}
	return r.resolver.Pusher(ctx, ref)
}
