package container

import (
	"fmt"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/project"
	"tutti/volumes"
)

// files are the configs and secrets of the service as the files they appear as.
func files(p *project.Project, s types.ServiceConfig) ([]volumes.File, error) {
	var all []volumes.File
	for _, c := range s.Configs {
		f, err := file("config", types.FileReferenceConfig(c), types.FileObjectConfig(p.Configs[c.Source]))
		if err != nil {
			return nil, err
		}
		f.Target = volumes.ConfigTarget(c.Source, c.Target)
		all = append(all, f)
	}
	for _, c := range s.Secrets {
		f, err := file("secret", types.FileReferenceConfig(c), types.FileObjectConfig(p.Secrets[c.Source]))
		if err != nil {
			return nil, err
		}
		f.Target = volumes.SecretTarget(c.Source, c.Target)
		all = append(all, f)
	}
	return all, nil
}

func file(kind string, ref types.FileReferenceConfig, o types.FileObjectConfig) (volumes.File, error) {
	f := volumes.File{Name: fmt.Sprintf("%s %q", kind, ref.Source)}
	if ref.Mode != nil {
		m := uint32(*ref.Mode) //nolint:gosec // permission bits
		f.Mode = &m
	}
	var err error
	if f.UID, err = numericID(ref.UID); err != nil {
		return f, fmt.Errorf("%s: uid: %w", f.Name, err)
	}
	if f.GID, err = numericID(ref.GID); err != nil {
		return f, fmt.Errorf("%s: gid: %w", f.Name, err)
	}
	switch {
	case bool(o.External):
		return f, fmt.Errorf("%s is external: that is not supported, use file, environment or content", f.Name)
	case o.File != "":
		f.Source = o.File
	case o.Environment != "" && o.Content == "": // the loader resolves it, from the user's environment
		return f, fmt.Errorf("%s: the environment variable %s is not set, or empty", f.Name, o.Environment)
	default:
		f.Content = []byte(o.Content)
	}
	return f, nil
}

func numericID(text string) (*int, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is no number", text)
	}
	id := int(n)
	return &id, nil
}
