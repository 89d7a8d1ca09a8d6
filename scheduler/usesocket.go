package scheduler

import (
	"slices"
	"strings"

	"tutti/scheduler/container"
	"tutti/scheduler/credentials"
	"tutti/volumes"
)

// dockerConfigDir is where docker compose puts the credentials of a service with use_api_socket.
const dockerConfigDir = "/run/secrets/docker"

// giveCredentials hands the user's registry credentials to a container with use_api_socket, unless it has a configuration
// of its own: for its root alone, as docker compose does.
func (r *run) giveCredentials(c *container.Config) error {
	own := slices.ContainsFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, "DOCKER_CONFIG=") })
	if !c.APISocket || own {
		return nil
	}
	config, err := credentials.Copy(r.client.DockerConfig)
	if err != nil || config == nil {
		return err
	}
	mode := uint32(0o600)
	c.Files = append(c.Files, volumes.File{Name: "registry credentials", Target: dockerConfigDir + "/config.json", Content: config, Mode: &mode})
	c.Env = append(c.Env, "DOCKER_CONFIG="+dockerConfigDir)
	return nil
}
