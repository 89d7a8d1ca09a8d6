// Package buildflags reads the values of docker build's flags: `id=token,src=file` and the like. Relative paths are made
// absolute, and variables are taken from the user's environment, so that the engine need know neither.
package buildflags

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tonistiigi/go-csvvalue"

	"tutti/scheduler/api"
)

// User is whose flags they are.
type User struct {
	Dir string                      // the working folder
	Env func(string) (string, bool) // the environment
}

func (u User) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(u.Dir, p)
}

// fields reads `key=value,key=value`; a field without a value has an empty one.
func fields(flag, text string) (map[string]string, error) {
	list, err := csvvalue.Fields(text, nil)
	if err != nil {
		return nil, fmt.Errorf("invalid --%s %q: %w", flag, text, err)
	}
	m := map[string]string{}
	for _, f := range list {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return nil, fmt.Errorf("invalid --%s %q: %q is not key=value", flag, text, f)
		}
		m[strings.ToLower(strings.TrimSpace(key))] = value
	}
	return m, nil
}

// Secret reads --secret: id=NAME with src=FILE or env=VARIABLE. Alone, the id is that of a variable, or else of a file
// that does not say where it is.
func (u User) Secret(text string) (api.BuildSecret, error) {
	m, err := fields("secret", text)
	if err != nil {
		return api.BuildSecret{}, err
	}
	s := api.BuildSecret{ID: m["id"]}
	variable := m["env"]
	for key, value := range m {
		switch key {
		case "id", "env":
		case "type":
			if value != "file" && value != "env" {
				return s, fmt.Errorf("invalid --secret %q: unsupported secret type %q", text, value)
			}
		case "src", "source":
			s.File = u.path(value)
		default:
			return s, fmt.Errorf("invalid --secret %q: unexpected key '%s'", text, key)
		}
	}
	if s.ID == "" {
		return s, fmt.Errorf("invalid --secret %q: secret missing id", text)
	}
	if m["type"] == "env" && variable == "" && s.File != "" { // of old: type=env,src=VARIABLE
		variable, s.File = firstOf(m["src"], m["source"]), ""
	}
	if s.File != "" {
		return s, nil
	}
	name := firstOf(variable, s.ID)
	value, ok := u.Env(name)
	if !ok {
		return s, fmt.Errorf("invalid --secret %q: the environment variable %s is not set, and there is no src=FILE", text, name)
	}
	s.Value = []byte(value)
	return s, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// SSH reads --ssh: default, or NAME=SOCKET or NAME=KEY,KEY.
func (u User) SSH(text string) (api.BuildSSH, error) {
	id, paths, ok := strings.Cut(text, "=")
	k := api.BuildSSH{ID: id}
	if !ok {
		if id != "default" {
			return k, fmt.Errorf("invalid ssh key %q", text)
		}
		return k, nil
	}
	for p := range strings.SplitSeq(paths, ",") {
		k.Paths = append(k.Paths, u.path(p))
	}
	return k, nil
}

// Output reads --output: a folder, `-` for a tar on the standard output, or type=TYPE,dest=PATH,...
func (u User) Output(text string) (api.BuildOutput, error) {
	o := api.BuildOutput{Attrs: map[string]string{}}
	switch {
	case text == "-":
		return api.BuildOutput{Type: "tar", Stdout: true}, nil
	case !strings.Contains(text, "="):
		return api.BuildOutput{Type: "local", Dest: u.path(text)}, nil
	}
	m, err := fields("output", text)
	if err != nil {
		return o, err
	}
	for key, value := range m {
		switch key {
		case "type":
			o.Type = value
		case "dest":
			o.Dest = value
		default:
			o.Attrs[key] = value
		}
	}
	if o.Type == "" {
		return o, fmt.Errorf("invalid --output %q: type is required for output", text)
	}
	archive := o.Type == "tar" || o.Type == "oci"
	switch {
	case o.Dest == "-" || o.Dest == "" && archive:
		if !archive && o.Type != "docker" {
			return o, fmt.Errorf("invalid --output %q: dest cannot be stdout for %s exporter", text, o.Type)
		}
		o.Dest, o.Stdout = "", true
	case o.Dest != "":
		o.Dest = u.path(o.Dest)
	}
	return o, nil
}

// Pairs reads flags of the form NAME=VALUE. With take, NAME alone takes the value of that variable, and is left out where
// there is none; without, it has an empty value.
func (u User) Pairs(flag string, list []string, take bool) (map[string]string, error) {
	m := map[string]string{}
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid --%s %q: give NAME=VALUE", flag, text)
		}
		if !ok && take {
			if value, ok = u.Env(name); !ok {
				continue
			}
		}
		m[name] = value
	}
	return m, nil
}

// Contexts reads --build-context: NAME=FOLDER, or NAME=SCHEME://...
func (u User) Contexts(list []string) (map[string]string, error) {
	m := map[string]string{}
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("invalid context value: %s, expected key=value", text)
		}
		switch layout, isLayout := strings.CutPrefix(value, "oci-layout://"); {
		case isLayout:
			value = "oci-layout://" + u.path(layout)
		case !strings.Contains(value, "://") && !strings.HasPrefix(value, "git@"):
			value = u.path(value)
		}
		m[name] = value
	}
	return m, nil
}

// Hosts reads --add-host: NAME:ADDRESS or NAME=ADDRESS; the address may be "host-gateway".
func Hosts(list []string) (map[string][]string, error) {
	m := map[string][]string{}
	for _, text := range list {
		name, address, ok := strings.Cut(text, "=")
		if !ok {
			name, address, ok = strings.Cut(text, ":")
		}
		if !ok || name == "" || address == "" {
			return nil, fmt.Errorf("invalid host-to-IP mapping %q: give NAME:ADDRESS", text)
		}
		m[name] = append(m[name], strings.Trim(address, "[]"))
	}
	return m, nil
}

// Attestations reads --attest: type=sbom or type=provenance with attributes. The shorthands --sbom and --provenance win.
func Attestations(list []string, provenance, sbom string) (string, string, error) {
	for _, text := range list {
		m, err := fields("attest", text)
		if err != nil {
			return "", "", err
		}
		var rest []string
		off := false
		all, _ := csvvalue.Fields(text, nil) // it was read above
		for _, f := range all {
			switch key, value, _ := strings.Cut(f, "="); key {
			case "type":
			case "disabled":
				off = value == "true" || value == "1"
			default:
				rest = append(rest, f)
			}
		}
		value := firstOf(strings.Join(rest, ","), "true")
		if off {
			value = "false"
		}
		switch m["type"] {
		case "provenance":
			provenance = firstOf(provenance, value)
		case "sbom":
			sbom = firstOf(sbom, value)
		default:
			return "", "", fmt.Errorf("invalid --attest %q: the type is provenance or sbom", text)
		}
	}
	return provenance, sbom, nil
}
