// Package registry is how registries are reached: over HTTPS, over plain HTTP only on a loopback address or where the host's
// configuration says so, through mirrors, with the user's credentials and nobody else's, within limits of time and memory.
//
// A registry is not trusted: it may stall, send anything without an end, or lead elsewhere. Credentials go to the registry
// that they are for and to the token server that it names, never to where either of them redirects.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
)

const (
	hubHost     = "docker.io"            // as in image names
	hubRegistry = "registry-1.docker.io" // what serves it
)

// Auth returns user and password (or token) for a registry; host is as in image
// names, "docker.io" for Docker Hub. Two empty strings mean anonymous access; an
// empty user makes the secret an identity token.
type Auth func(host string) (user, secret string, err error)

// Name is the host of a registry as it is in image names: "docker.io" for
// the several addresses of Docker Hub.
func Name(host string) string {
	switch host {
	case hubRegistry, "index.docker.io", "auth.docker.io", "registry.hub.docker.com":
		return hubHost
	}
	return host
}

// CertsDir is where people put what concerns a registry, in a folder of its name. Docker's own folder is read, too.
const CertsDir = "/etc/tutti/certs.d"

// Options of New; the zero value is right but for tests.
type Options struct {
	// Dirs hold, in a folder per registry (":" of a port may be written "_", with one more at the end), a hosts.toml of
	// containerd's or docker's certificates: mirrors, plain HTTP, CA bundles, client certificates
	// (https://github.com/containerd/containerd/blob/main/docs/hosts.md). The first folder that knows a registry counts.
	Dirs []string
	// Stall is how long a registry may keep a connection silent before it is taken for dead.
	Stall time.Duration
	// Dial makes connections; nil: to where names lead.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Clients are shared by all transfers, so that connections are used again.
type Clients struct {
	remote   *http.Transport   // HTTPS, checked with the host's certificates
	loopback http.RoundTripper // any certificate, or plain HTTP
	options  Options
}

// New makes clients. They must be closed.
func New(o Options) *Clients {
	if o.Dirs == nil {
		o.Dirs = []string{CertsDir, "/etc/docker/certs.d"}
	}
	if o.Stall == 0 {
		o.Stall = stallTime
	}
	c := &Clients{options: o}
	c.remote = c.bounded(docker.DefaultHTTPTransport(&tls.Config{MinVersion: tls.VersionTLS12}))
	insecure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // loopback only, as in docker
	c.loopback = docker.NewHTTPFallback(c.bounded(docker.DefaultHTTPTransport(insecure)))
	return c
}

// Close ends the connections that are not in use.
func (c *Clients) Close() {
	c.remote.CloseIdleConnections()
	(&http.Client{Transport: c.loopback}).CloseIdleConnections()
}

// Hosts tells how registries are reached: HTTPS, and on a loopback address also plain HTTP or an unknown certificate,
// which is docker's rule; or what the host's configuration says. A nil auth is anonymous.
func (c *Clients) Hosts(auth Auth) docker.RegistryHosts {
	return func(name string) ([]docker.RegistryHost, error) {
		hosts, err := c.hosts(name)
		if err != nil {
			return nil, err
		}
		for i := range hosts {
			c.guard(&hosts[i], auth, nil)
		}
		return hosts, nil
	}
}

// hosts are a registry's mirrors and the registry itself, in the order in which they are asked.
func (c *Clients) hosts(name string) ([]docker.RegistryHost, error) {
	for _, dir := range c.options.Dirs {
		found, err := config.HostDirFromRoot(dir)(name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = checkHostsFile(filepath.Join(found, "hosts.toml"))
		}
		if err != nil {
			return nil, fmt.Errorf("configuration of registry %s: %w", name, err)
		}
		hosts, err := c.configured(found, name)
		if err != nil {
			return nil, fmt.Errorf("configuration of registry %s in %s: %w", name, found, err)
		}
		return hosts, nil
	}
	return c.usual(name)
}

// checkHostsFile finds mistakes in the writing of a hosts.toml, which containerd would pass over with the whole file.
func checkHostsFile(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var any map[string]any
	err = toml.Unmarshal(text, &any)
	if at := (*toml.DecodeError)(nil); errors.As(err, &at) {
		line, _ := at.Position()
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return err
}

// configured follows the files in dir.
func (c *Clients) configured(dir, name string) ([]docker.RegistryHost, error) {
	return config.ConfigureHosts(context.Background(), config.HostOptions{ //nolint:contextcheck,forbidigo // only to log with
		HostDir: func(string) (string, error) { return dir, nil },
		UpdateClient: func(client *http.Client) error {
			if t, ok := client.Transport.(*http.Transport); ok {
				client.Transport = c.bounded(t)
			}
			return nil
		},
	})(name)
}

func (c *Clients) usual(name string) ([]docker.RegistryHost, error) {
	local, err := docker.MatchLocalhost(name)
	if err != nil {
		return nil, fmt.Errorf("registry host %q: %w", name, err)
	}
	h := docker.RegistryHost{
		Client: &http.Client{Transport: c.remote}, Host: name, Scheme: "https", Path: "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve | docker.HostCapabilityPush | docker.HostCapabilityReferrers,
	}
	if local {
		h.Client.Transport = c.loopback
		if _, port, err := net.SplitHostPort(name); err == nil && port == "80" {
			h.Scheme = "http"
		}
	}
	if name == hubHost {
		h.Host = hubRegistry
	}
	return []docker.RegistryHost{h}, nil
}
