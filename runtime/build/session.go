package build

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/docker/cli/cli/config/types"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"

	"tutti/runtime/image"
	"tutti/runtime/image/registry"
)

// attachables are what the solver may ask for during the build.
func attachables(r Request) ([]session.Attachable, error) {
	list := []session.Attachable{
		authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: credentials(r.Auth)}),
	}
	if len(r.Secrets) > 0 {
		store, err := newSecretStore(r.Secrets)
		if err != nil {
			return nil, err
		}
		list = append(list, secretsprovider.NewSecretProvider(store))
	}
	if len(r.SSH) > 0 {
		var agents []sshprovider.AgentConfig
		for _, s := range r.SSH {
			agents = append(agents, sshprovider.AgentConfig{ID: s.ID, Paths: s.Paths})
		}
		forward, err := sshprovider.NewSSHAgentProvider(agents)
		if err != nil {
			return nil, fmt.Errorf("ssh: %w", err)
		}
		list = append(list, forward)
	}
	return list, nil
}

// credentials answers the solver's questions for a registry's login.
func credentials(auth image.Auth) authprovider.AuthConfigProvider {
	return func(_ context.Context, host string, _ []string, _ authprovider.ExpireCachedAuthCheck) (types.AuthConfig, error) {
		if auth == nil {
			return types.AuthConfig{}, nil
		}
		user, secret, err := auth(registry.Name(host))
		if err != nil {
			return types.AuthConfig{}, err
		}
		if user == "" {
			return types.AuthConfig{ServerAddress: host, IdentityToken: secret}, nil
		}
		return types.AuthConfig{ServerAddress: host, Username: user, Password: secret}, nil
	}
}

// secretStore has the request's secrets by ID; files are read when they are asked for.
type secretStore map[string]Secret

func newSecretStore(list []Secret) (secretStore, error) {
	store := secretStore{}
	for _, s := range list {
		if s.ID == "" {
			return nil, errors.New("a build secret has no id")
		}
		if s.File != "" {
			if _, err := os.Stat(s.File); err != nil {
				return nil, fmt.Errorf("build secret %s: %w", s.ID, err)
			}
		}
		store[s.ID] = s
	}
	return store, nil
}

func (s secretStore) GetSecret(_ context.Context, id string) ([]byte, error) {
	secret, ok := s[id]
	if !ok {
		return nil, fmt.Errorf("build secret %s: %w", id, secrets.ErrNotFound)
	}
	if secret.File == "" {
		return secret.Value, nil
	}
	info, err := os.Stat(secret.File)
	if err != nil {
		return nil, fmt.Errorf("build secret %s: %w", id, err)
	}
	if info.Size() > secretsprovider.MaxSecretSize {
		return nil, fmt.Errorf("build secret %s has %d bytes, more than %d", id, info.Size(), secretsprovider.MaxSecretSize)
	}
	data, err := os.ReadFile(secret.File)
	if err != nil {
		return nil, fmt.Errorf("build secret %s: %w", id, err)
	}
	return data, nil
}
