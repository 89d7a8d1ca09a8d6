package container

import (
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"

	"tutti/scheduler/supervise"
)

// Docker is what a client of docker's API wanted of a container, with docker's defaults, as inspect shows it again.
type Docker struct {
	Config     *apicontainer.Config     `json:"config"`
	HostConfig *apicontainer.HostConfig `json:"hostConfig"`
}

// DefaultShm is what /dev/shm holds unless something else was asked for, in bytes: docker's.
const DefaultShm = 64 << 20

// Environment is the environment of a container's processes: variables without a value are none, and there is a PATH.
func Environment(env []string) []string {
	list := slices.DeleteFunc(slices.Clone(env), func(e string) bool { return !strings.Contains(e, "=") })
	all := WithEnv(nil, list) // the last one of a name counts
	if !slices.ContainsFunc(all, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		all = append([]string{defaultPath}, all...)
	}
	return all
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Updated is what `container update` has made of a container's limits and restart policy.
type Updated struct {
	Limits
	Restart supervise.RestartPolicy `json:"restart"`
}
