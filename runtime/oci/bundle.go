package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxConfig bounds a config.json; podman's are under 100 KB.
const maxConfig = 16 << 20

// loadBundle reads config.json of a bundle and makes its relative paths absolute.
func loadBundle(dir string) (spec *specs.Spec, bundle string, err error) {
	if bundle, err = filepath.Abs(dir); err != nil {
		return nil, "", fmt.Errorf("bundle: %w", err)
	}
	spec = &specs.Spec{}
	if err := readJSON(filepath.Join(bundle, "config.json"), spec); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("JSON specification file config.json not found in %s: %w", bundle, err)
		}
		return nil, "", err
	}
	if !strings.HasPrefix(spec.Version, "1.") {
		return nil, "", fmt.Errorf("ociVersion %q is not supported: this is an implementation of %s", spec.Version, specs.Version)
	}
	if spec.Root == nil || spec.Linux == nil {
		return nil, "", errors.New("config.json: root and linux are required")
	}
	if spec.VM != nil || spec.Windows != nil || spec.Solaris != nil || spec.ZOS != nil || spec.FreeBSD != nil {
		return nil, "", errors.New("config.json: it is for another platform than linux")
	}
	spec.Root.Path = inBundle(bundle, spec.Root.Path)
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		if isBind(m) && m.Source != "" {
			m.Source = inBundle(bundle, m.Source)
		}
		// Relative destinations were allowed before version 1.0.
		if !path.IsAbs(m.Destination) {
			m.Destination = "/" + m.Destination
		}
	}
	return spec, bundle, nil
}

func isBind(m *specs.Mount) bool {
	if m.Type == "bind" {
		return true
	}
	for _, o := range m.Options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}

func inBundle(bundle, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(bundle, p)
}

// readJSON reads one JSON value from a file of a sane size.
func readJSON(file string, v any) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if st.Size() > maxConfig {
		return fmt.Errorf("%s: too big", file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// cgroupsPath makes a spec's path absolute: relative ones, and an empty one, are
// below the runtime's own parent.
func cgroupsPath(p, parent, id string) (string, error) {
	switch {
	case p == "":
		return path.Join(parent, id), nil
	case strings.Count(p, ":") == 2 && !strings.Contains(p, "/"):
		return "", fmt.Errorf("linux.cgroupsPath %q is for systemd, which is not supported: use cgroupfs", p)
	case path.IsAbs(p):
		if p = path.Clean(p); p == "/" {
			return "", errors.New(`linux.cgroupsPath "/" would be every cgroup of the host`)
		}
		return p, nil
	}
	return path.Join(parent, path.Clean("/"+p)), nil
}
