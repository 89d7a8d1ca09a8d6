package project

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"
)

// Render is the resolved project as `docker compose config` prints it; format is yaml
// or json. Dollar signs are doubled, so that the output can be loaded again.
func (p *Project) Render(format string) ([]byte, error) {
	var out []byte
	var err error
	switch format {
	case "yaml", "":
		out, err = p.MarshalYAML()
	case "json":
		out, err = p.MarshalJSON()
	default:
		return nil, fmt.Errorf("unsupported format %q: use yaml or json", format)
	}
	if err != nil {
		return nil, fmt.Errorf("render project %s: %w", p.Name, err)
	}
	return bytes.ReplaceAll(out, []byte("$"), []byte("$$")), nil
}

// RenderModel is what Model returned, printed as `docker compose config
// --no-interpolate` prints it.
func RenderModel(model map[string]any, format string) ([]byte, error) {
	switch format {
	case "json":
		return json.MarshalIndent(model, "", "  ")
	case "yaml", "":
		var b bytes.Buffer
		encoder := yaml.NewEncoder(&b)
		encoder.SetIndent(2)
		err := encoder.Encode(model)
		return b.Bytes(), err
	}
	return nil, fmt.Errorf("unsupported format %q: use yaml or json", format)
}

// Images lists the images that the services run, sorted, each once.
func (p *Project) Images() []string {
	images := map[string]bool{}
	for name, s := range p.Services {
		if s.Provider != nil {
			continue
		}
		images[p.ImageName(name)] = true
		for _, hook := range s.PreStart {
			if hook.Image != "" {
				images[hook.Image] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(images))
}

// ProfileNames lists the profiles that any service names, sorted.
func (p *Project) ProfileNames() []string {
	profiles := map[string]bool{}
	for _, s := range p.AllServices() {
		for _, name := range s.Profiles {
			profiles[name] = true
		}
	}
	return slices.Sorted(maps.Keys(profiles))
}

// EnvironmentList is what the files were interpolated with, as sorted NAME=value.
func (p *Project) EnvironmentList() []string { return p.Environment.Values() }

// Variable is a variable that the files use.
type Variable struct {
	Name     string
	Default  string // of ${NAME:-default}
	Present  string // of ${NAME:+present}
	Required bool   // ${NAME:?}
}

// Variables lists the variables that the files use, sorted by name.
func Variables(ctx context.Context, o Options) ([]Variable, error) {
	o.NoInterpolate = true
	in, err := prepare(o)
	if err != nil {
		return nil, err
	}
	var model map[string]any
	if _, err = collectWarnings(func() error {
		model, err = in.model(ctx, loader.WithSkipValidation)
		return err
	}); err != nil {
		return nil, err
	}
	found := template.ExtractVariables(model, template.DefaultPattern)
	out := make([]Variable, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		v := found[name]
		out = append(out, Variable{Name: name, Default: v.DefaultValue, Present: v.PresenceValue, Required: v.Required})
	}
	return out, nil
}
