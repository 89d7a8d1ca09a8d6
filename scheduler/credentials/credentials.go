// Package credentials reads what a user's docker configuration (config.json and its credential helpers) says about
// registries and proxies.
package credentials

import (
	"bytes"
	"fmt"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"

	"tutti/runtime/image"
)

// Registry finds the credentials for registries in the configuration in dir; none is no error. Without dir it is nil.
func Registry(dir string) image.Auth {
	if dir == "" {
		return nil
	}
	return func(host string) (string, string, error) {
		c, err := load(dir)
		if err != nil {
			return "", "", err
		}
		if host == "docker.io" || host == "registry-1.docker.io" {
			host = "https://index.docker.io/v1/"
		}
		a, err := c.GetAuthConfig(host)
		if err != nil {
			return "", "", fmt.Errorf("credentials for %s: %w", host, err)
		}
		if a.IdentityToken != "" {
			return "", a.IdentityToken, nil
		}
		return a.Username, a.Password, nil
	}
}

// Proxy is the build args that the configuration in dir gives to every build, its "proxies"; nothing without dir.
func Proxy(dir string) (map[string]*string, error) {
	if dir == "" {
		return nil, nil
	}
	c, err := load(dir)
	if err != nil {
		return nil, err
	}
	return c.ParseProxyConfig("default", nil), nil
}

// Copy is a config.json with all credentials of the configuration in dir in it, those of its helpers, too; nil when there
// are none.
func Copy(dir string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	c, err := load(dir)
	if err != nil {
		return nil, err
	}
	all, err := c.GetAllCredentials()
	if err != nil {
		return nil, fmt.Errorf("resolving credentials failed: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if err := (&configfile.ConfigFile{AuthConfigs: all}).SaveToWriter(&b); err != nil {
		return nil, fmt.Errorf("write the credentials: %w", err)
	}
	return b.Bytes(), nil
}

func load(dir string) (*configfile.ConfigFile, error) {
	c, err := dockerconfig.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("read the docker configuration in %s: %w", dir, err)
	}
	return c, nil
}
