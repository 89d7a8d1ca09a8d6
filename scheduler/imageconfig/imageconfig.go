// Package imageconfig translates between what images and what containers say of how to run.
package imageconfig

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"tutti/runtime/image"
	"tutti/scheduler/container"
	"tutti/scheduler/supervise"
)

// Defaults is what a container takes over from an image.
func Defaults(img image.Image) container.Image {
	c := img.Config
	d := container.Image{
		ID: img.ID, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User,
		StopSignal: c.StopSignal, Labels: c.Labels, Shell: c.Shell,
	}
	for v := range c.Volumes {
		d.Volumes = append(d.Volumes, v)
	}
	for p := range c.ExposedPorts {
		d.ExposedPorts = append(d.ExposedPorts, p)
	}
	sort.Strings(d.Volumes)
	sort.Strings(d.ExposedPorts)
	if h := c.Healthcheck; h != nil {
		d.Health = &supervise.HealthCheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return d
}

// Of is a container's configuration as that of an image.
func Of(c *container.Config, base image.Image) dockerspec.DockerOCIImageConfig {
	config := base.Config
	config.Env, config.Cmd, config.Entrypoint = slices.Clone(c.Env), c.Command, c.Entrypoint
	config.WorkingDir, config.User, config.StopSignal = c.WorkingDir, c.User, c.StopSignal
	config.OnBuild, config.Shell = slices.Clone(config.OnBuild), slices.Clone(config.Shell)
	config.Labels = maps.Clone(c.Labels)
	config.Volumes = maps.Clone(base.Config.Volumes)
	for _, m := range c.Mounts {
		if m.Anonymous {
			if config.Volumes == nil {
				config.Volumes = map[string]struct{}{}
			}
			config.Volumes[m.Target] = struct{}{}
		}
	}
	config.ExposedPorts = maps.Clone(base.Config.ExposedPorts)
	for _, p := range slices.Concat(c.Ports, c.Exposed) {
		if config.ExposedPorts == nil {
			config.ExposedPorts = map[string]struct{}{}
		}
		config.ExposedPorts[fmt.Sprintf("%d/%s", p.Target, p.Protocol)] = struct{}{}
	}
	if h := c.Health; h != nil && len(h.Test) > 0 {
		config.Healthcheck = &dockerspec.HealthcheckConfig{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
	}
	return config
}

// Override lets a configuration that a client sends with a commit count more than the container's.
func Override(c, by *dockerspec.DockerOCIImageConfig) {
	if by == nil {
		return
	}
	c.Env = container.WithEnv(c.Env, by.Env)
	for _, f := range []struct{ to, from *[]string }{{&c.Cmd, &by.Cmd}, {&c.Entrypoint, &by.Entrypoint}, {&c.OnBuild, &by.OnBuild}, {&c.Shell, &by.Shell}} {
		if len(*f.from) > 0 {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ to, from *string }{{&c.User, &by.User}, {&c.WorkingDir, &by.WorkingDir}, {&c.StopSignal, &by.StopSignal}} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	c.Labels = merged(c.Labels, by.Labels)
	c.Volumes = merged(c.Volumes, by.Volumes)
	c.ExposedPorts = merged(c.ExposedPorts, by.ExposedPorts)
	if by.Healthcheck != nil {
		c.Healthcheck = by.Healthcheck
	}
}

func merged[V any](a, b map[string]V) map[string]V {
	if len(b) == 0 {
		return a
	}
	all := map[string]V{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}
