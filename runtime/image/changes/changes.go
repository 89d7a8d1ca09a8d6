// Package changes applies Dockerfile instructions to an image's configuration: what `commit --change` and `import --change`
// take. The instructions are read by BuildKit's own parser.
package changes

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// ErrInvalid means that a change is no instruction, or none that is allowed.
var ErrInvalid = errors.New("invalid change")

// allowed are those of docker.
var allowed = []string{"cmd", "entrypoint", "healthcheck", "env", "expose", "label", "onbuild", "user", "volume", "workdir"}

// Apply carries out the changes, one or more instructions each, in their order. The error is ErrInvalid, and c is then
// changed in part.
func Apply(c *dockerspec.DockerOCIImageConfig, list []string) error {
	if len(list) == 0 {
		return nil
	}
	parsed, err := parser.Parse(strings.NewReader(strings.Join(list, "\n")))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	a := &applier{config: c, words: shell.NewLex(parsed.EscapeToken)}
	for _, node := range parsed.AST.Children {
		if !slices.Contains(allowed, strings.ToLower(node.Value)) {
			return fmt.Errorf("%w: %s is not a valid change command", ErrInvalid, node.Value)
		}
		command, err := instructions.ParseInstruction(node)
		if err == nil {
			err = a.apply(command)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, node.Original, err)
		}
	}
	return nil
}

type applier struct {
	config *dockerspec.DockerOCIImageConfig
	words  *shell.Lex
	cmdSet bool
}

func (a *applier) expand(word string) (string, error) {
	text, _, err := a.words.ProcessWord(word, shell.EnvsFromSlice(a.config.Env))
	return text, err
}

func (a *applier) apply(command any) error {
	if e, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		if err := e.Expand(a.expand); err != nil {
			return err
		}
	}
	c := a.config
	switch i := command.(type) {
	case *instructions.CmdCommand:
		c.Cmd, a.cmdSet = a.line(i.ShellDependantCmdLine), true
	case *instructions.EntrypointCommand:
		c.Entrypoint = a.line(i.ShellDependantCmdLine)
		if !a.cmdSet {
			c.Cmd = nil // it was for another entrypoint
		}
	case *instructions.HealthCheckCommand:
		c.Healthcheck = i.Health
	case *instructions.EnvCommand:
		for _, kv := range i.Env {
			a.setEnv(kv.Key, kv.Value)
		}
	case *instructions.ExposeCommand:
		return a.expose(i.Ports)
	case *instructions.LabelCommand:
		for _, kv := range i.Labels {
			set(&c.Labels, kv.Key, kv.Value)
		}
	case *instructions.OnbuildCommand:
		c.OnBuild = append(c.OnBuild, i.Expression)
	case *instructions.UserCommand:
		c.User = i.User
	case *instructions.VolumeCommand:
		for _, v := range i.Volumes {
			if v = strings.TrimSpace(v); v == "" {
				return errors.New("VOLUME specified can not be an empty string")
			}
			set(&c.Volumes, v, struct{}{})
		}
	case *instructions.WorkdirCommand:
		if !path.IsAbs(i.Path) {
			i.Path = path.Join(c.WorkingDir, i.Path)
		}
		c.WorkingDir = path.Join("/", i.Path)
	}
	return nil
}

// line is a command as it is executed: in the shell form by the image's shell.
func (a *applier) line(l instructions.ShellDependantCmdLine) []string {
	if !l.PrependShell || len(l.CmdLine) == 0 {
		return l.CmdLine
	}
	sh := a.config.Shell
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(sh), l.CmdLine...)
}

func (a *applier) setEnv(name, value string) {
	for i, e := range a.config.Env {
		if n, _, _ := strings.Cut(e, "="); n == name {
			a.config.Env[i] = name + "=" + value
			return
		}
	}
	a.config.Env = append(a.config.Env, name+"="+value)
}

func (a *applier) expose(specs []string) error {
	for i, s := range specs {
		text, err := a.expand(s)
		if err != nil {
			return err
		}
		specs[i] = text
	}
	ports, _, err := nat.ParsePortSpecs(specs)
	if err != nil {
		return err
	}
	for p := range ports {
		set(&a.config.ExposedPorts, string(p), struct{}{})
	}
	return nil
}

func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}
