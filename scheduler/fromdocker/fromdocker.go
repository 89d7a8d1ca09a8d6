// Package fromdocker says in compose's terms what a client of docker's API wants of a container, so that there is one way to
// make a container: the body of POST /containers/create (https://docs.docker.com/reference/api/engine/) becomes a project of
// one service, and what no compose file can say is added to the configuration that comes of it. Every field of the body is
// heeded, or named in a warning or a refusal, see Treatments. It is pure but for looking at sources of binds.
package fromdocker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"tutti/project"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// Body is the body of POST /containers/create, with what only older clients send.
type Body struct {
	*apicontainer.Config
	MacAddress       string // before API 1.44
	HostConfig       *HostConfig
	NetworkingConfig *apinetwork.NetworkingConfig
}

// HostConfig is docker's, with what only older clients send.
type HostConfig struct {
	*apicontainer.HostConfig
	KernelMemory    int64 // before API 1.42
	KernelMemoryTCP int64 // before API 1.42
}

// Host is what has to be known of the engine.
type Host struct {
	// Network is the name of the network that a reference (a name or an id) means.
	Network func(ref string) (string, error)
	// Container is the id of the container that a name, an id or the beginning of an id means.
	Container func(ref string) (string, error)
}

// Wanted is a container that a client of docker's API wants, in compose's terms.
type Wanted struct {
	Project *project.Project // of one service without a name
	Service types.ServiceConfig
	// Volumes are those with labels or options of their own, to be made unless they are there.
	Volumes  []volumes.Spec
	Warnings []string

	config *apicontainer.Config // merged with the image's
	host   *apicontainer.HostConfig
	image  container.Image
}

// New reads a body. img is the image that it names.
func New(b Body, img container.Image, h Host) (*Wanted, error) {
	if b.Config == nil {
		return nil, fmt.Errorf("config cannot be empty in order to create a container")
	}
	if err := checkText(b); err != nil {
		return nil, err
	}
	var host HostConfig
	if b.HostConfig != nil {
		host = *b.HostConfig
	}
	if host.HostConfig == nil {
		host.HostConfig = &apicontainer.HostConfig{}
	}
	b.HostConfig = &host
	w := &Wanted{Project: &project.Project{Project: &types.Project{}}, image: img}
	given := *b.Config
	w.config, w.host = merged(given, img), normal(*host.HostConfig)
	if err := w.treat(b); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return w.process(given) },
		func() error { return w.healthCheck(given.Healthcheck) },
		w.limits,
		w.security,
		func() error { return w.namespaces(h) },
		func() error { return w.storage(given.Volumes, h) },
		func() error { return w.networks(b, h) },
		func() error { return w.ports(given.ExposedPorts) },
		w.policies,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// warn tells the client something that does not prevent the container.
func (w *Wanted) warn(format string, args ...any) {
	w.Warnings = append(w.Warnings, fmt.Sprintf(format, args...))
}

// process is what is executed, as whom and where.
func (w *Wanted) process(given apicontainer.Config) error {
	c, s := w.config, &w.Service
	if len(c.Entrypoint)+len(c.Cmd) == 0 {
		return fmt.Errorf("no command specified")
	}
	if c.WorkingDir != "" && !strings.HasPrefix(c.WorkingDir, "/") {
		return fmt.Errorf("the working directory '%s' is invalid, it needs to be an absolute path", c.WorkingDir)
	}
	for _, e := range given.Env {
		if name, _, _ := strings.Cut(e, "="); name == "" {
			return fmt.Errorf("invalid environment variable: %s", e)
		}
	}
	// Neither is nil: what the image has is in them already.
	s.Entrypoint, s.Command = append(types.ShellCommand{}, c.Entrypoint...), append(types.ShellCommand{}, c.Cmd...)
	s.User, s.WorkingDir, s.Tty, s.StdinOpen = c.User, c.WorkingDir, c.Tty, c.OpenStdin
	s.Hostname, s.DomainName, s.Labels = c.Hostname, c.Domainname, c.Labels
	s.StopSignal = c.StopSignal
	s.Annotations, s.GroupAdd, s.Init, s.Umask = w.host.Annotations, w.host.GroupAdd, w.host.Init, w.host.Umask
	return nil
}

// Finish adds to a container's configuration what compose has no words for, and remembers what was asked for.
func (w *Wanted) Finish(c *container.Config) error {
	for i := range c.Networks {
		c.Networks[i].Aliases = slices.DeleteFunc(c.Networks[i].Aliases, func(a string) bool { return a == "" })
	}
	c.Env = container.Environment(w.config.Env)
	c.ConsoleSize = [2]uint16{uint16(w.host.ConsoleSize[0]), uint16(w.host.ConsoleSize[1])} //nolint:gosec // checked
	c.StdinOnce, c.AutoRemove = w.config.StdinOnce, w.host.AutoRemove
	if w.config.NetworkDisabled {
		c.NetworkMode, c.Networks = "none", nil
	}
	if err := w.finishSecurity(&c.Security); err != nil {
		return err
	}
	w.finishLimits(c)
	if c.Health != nil && len(w.config.Shell) > 0 {
		c.Health.Shell = w.config.Shell
	}
	c.DeviceRequests = append(c.DeviceRequests, deviceRequests(w.host.DeviceRequests)...)
	w.config.Hostname = c.Hostname
	c.Docker = &container.Docker{Config: w.config, HostConfig: w.host}
	return nil
}

// merged is a configuration with what it leaves open taken from the image, as docker does it (moby, daemon/commit.go, merge).
func merged(c apicontainer.Config, img container.Image) *apicontainer.Config {
	if c.User == "" {
		c.User = img.User
	}
	if c.WorkingDir == "" {
		c.WorkingDir = img.WorkingDir
	}
	if c.StopSignal == "" {
		c.StopSignal = img.StopSignal
	}
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = img.Cmd
		}
		if c.Entrypoint == nil {
			c.Entrypoint = img.Entrypoint
		}
	}
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" { // --entrypoint "" is none, and not the image's
		c.Entrypoint = nil
	}
	c.Env = slices.Clone(c.Env)
	for _, e := range img.Env {
		name, _, _ := strings.Cut(e, "=")
		if !slices.ContainsFunc(c.Env, func(have string) bool { h, _, _ := strings.Cut(have, "="); return h == name }) {
			c.Env = append(c.Env, e)
		}
	}
	labels := map[string]string{}
	maps.Copy(labels, img.Labels)
	maps.Copy(labels, c.Labels)
	c.Labels = labels
	if len(c.Shell) == 0 {
		c.Shell = img.Shell
	}
	c.Volumes = maps.Clone(c.Volumes)
	for _, v := range img.Volumes {
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[v] = struct{}{}
	}
	ports := apinetwork.PortSet{}
	maps.Copy(ports, c.ExposedPorts)
	for _, text := range img.ExposedPorts {
		if p, err := apinetwork.ParsePort(text); err == nil {
			ports[p] = struct{}{}
		}
	}
	c.ExposedPorts = ports
	return &c
}
