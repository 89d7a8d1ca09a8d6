package project

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
)

// OneOff is what `run` changes about a service for one container, as the flags of docker compose's run say it.
type OneOff struct {
	Service    string
	Command    []string // instead of the service's
	Entrypoint []string // nil: the service's; without Command the service's command goes too
	Env        []string // NAME=value, over the service's
	User       string
	WorkingDir string
	Name       string // of the container
	// Volumes are in the short syntax, beside the service's; relative paths begin at Dir.
	Volumes      []string
	Dir          string
	Publish      []string // ports in the short syntax
	ServicePorts bool     // the service's ports instead
	Labels       map[string]string
	CapAdd       []string
	CapDrop      []string
	TTY          bool
	Interactive  bool // its standard input is open
}

// WithOneOff returns the project as `run` sees it: the service changed as the flags say, with its ports closed unless they
// are asked for, and no restart policy. The project itself stays as it is.
func (p *Project) WithOneOff(o OneOff) (*Project, error) {
	s, ok := p.Services[o.Service]
	if !ok {
		return nil, fmt.Errorf("no such service: %s", o.Service)
	}
	model := *p.Project
	model.Services, model.Volumes = maps.Clone(p.Services), maps.Clone(p.Volumes)
	out := &Project{Project: &model, warnings: p.warnings, positions: p.positions}
	s.Tty, s.StdinOpen, s.ContainerName = o.TTY, o.Interactive, o.Name
	s.Restart = ""
	if s.Deploy != nil {
		d := *s.Deploy
		d.RestartPolicy = nil
		s.Deploy = &d
	}
	o.process(&s)
	if err := o.ports(&s); err != nil {
		return nil, err
	}
	for _, spec := range o.Volumes {
		v, err := o.volume(out, spec)
		if err != nil {
			return nil, err
		}
		// One of the command line takes the place of the file's.
		s.Volumes = slices.DeleteFunc(slices.Clone(s.Volumes), func(have types.ServiceVolumeConfig) bool { return have.Target == v.Target })
		s.Volumes = append(s.Volumes, v)
	}
	model.Services[o.Service] = s
	return out, nil
}

// process changes what is executed, and as whom.
func (o *OneOff) process(s *types.ServiceConfig) {
	if len(o.Command) > 0 {
		s.Command = o.Command
	}
	if o.Entrypoint != nil {
		s.Entrypoint = o.Entrypoint
		if len(o.Command) == 0 {
			s.Command = types.ShellCommand{}
		}
	}
	if o.User != "" {
		s.User = o.User
	}
	if o.WorkingDir != "" {
		s.WorkingDir = o.WorkingDir
	}
	if len(o.CapAdd) > 0 {
		s.CapAdd, s.CapDrop = slices.Concat(s.CapAdd, o.CapAdd), without(s.CapDrop, o.CapAdd)
	}
	if len(o.CapDrop) > 0 {
		s.CapDrop, s.CapAdd = slices.Concat(s.CapDrop, o.CapDrop), without(s.CapAdd, o.CapDrop)
	}
	if len(o.Env) > 0 {
		s.Environment = maps.Clone(s.Environment)
		if s.Environment == nil {
			s.Environment = types.MappingWithEquals{}
		}
		for _, e := range o.Env {
			name, value, _ := strings.Cut(e, "=")
			s.Environment[name] = &value
		}
	}
	if len(o.Labels) > 0 {
		s.Labels = maps.Clone(s.Labels)
		if s.Labels == nil {
			s.Labels = types.Labels{}
		}
		maps.Copy(s.Labels, o.Labels)
	}
}

func without(list, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
}

func (o *OneOff) ports(s *types.ServiceConfig) error {
	if o.ServicePorts {
		return nil
	}
	s.Ports = nil
	for _, spec := range o.Publish {
		ports, err := types.ParsePortConfig(spec)
		if err != nil {
			return fmt.Errorf("--publish %s: %w", spec, err)
		}
		s.Ports = append(s.Ports, ports...)
	}
	return nil
}

// volume reads a --volume. A named one that the file does not have is made.
func (o *OneOff) volume(p *Project, spec string) (types.ServiceVolumeConfig, error) {
	name := ""
	if len(spec) > 2 && spec[1] == ':' && spec[2] == '/' { // a volume of one letter, not a drive of Windows
		name, spec = spec[:1], "volume"+spec[1:]
	}
	v, err := format.ParseVolume(spec)
	if err != nil {
		return v, fmt.Errorf("--volume: %w", err)
	}
	if name != "" {
		v.Source = name
	}
	if !filepath.IsAbs(v.Target) {
		return v, fmt.Errorf("--volume %s: the path in the container must be absolute", spec)
	}
	switch {
	case v.Type == types.VolumeTypeBind && !filepath.IsAbs(v.Source):
		v.Source = filepath.Join(o.Dir, v.Source)
	case v.Type == types.VolumeTypeVolume && v.Source != "":
		if _, ok := p.Volumes[v.Source]; ok {
			break
		}
		if p.Volumes == nil {
			p.Volumes = types.Volumes{}
		}
		p.Volumes[v.Source] = types.VolumeConfig{Name: v.Source}
	}
	return v, nil
}
