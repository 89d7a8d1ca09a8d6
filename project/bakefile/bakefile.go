// Package bakefile writes the builds of a project as a file for `docker buildx bake`, in the shape in which docker compose
// prints it (`build --print`; the format is that of https://docs.docker.com/build/bake/reference/, as JSON).
package bakefile

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/project"
)

// File is a bake file.
type File struct {
	Groups  map[string]Group  `json:"group"`
	Targets map[string]Target `json:"target"`
}

// Group names targets that are built together.
type Group struct {
	Targets []string `json:"targets"`
}

// Target is one build. The fields are docker compose's, in its order.
type Target struct {
	Context          string            `json:"context,omitempty"`
	Contexts         map[string]string `json:"contexts,omitempty"`
	Dockerfile       string            `json:"dockerfile,omitempty"`
	DockerfileInline string            `json:"dockerfile-inline,omitempty"`
	Args             map[string]string `json:"args,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Tags             []string          `json:"tags,omitempty"`
	CacheFrom        []string          `json:"cache-from,omitempty"`
	CacheTo          []string          `json:"cache-to,omitempty"`
	Target           string            `json:"target,omitempty"`
	Secrets          []string          `json:"secret,omitempty"`
	SSH              []string          `json:"ssh,omitempty"`
	Platforms        []string          `json:"platforms,omitempty"`
	Pull             bool              `json:"pull,omitempty"`
	NoCache          bool              `json:"no-cache,omitempty"`
	Network          string            `json:"network,omitempty"`
	NoCacheFilter    []string          `json:"no-cache-filter,omitempty"`
	ShmSize          types.UnitBytes   `json:"shm-size,omitempty"`
	Ulimits          []string          `json:"ulimits,omitempty"`
	Call             string            `json:"call,omitempty"`
	Entitlements     []string          `json:"entitlements,omitempty"`
	ExtraHosts       map[string]string `json:"extra-hosts,omitempty"`
	Outputs          []string          `json:"output,omitempty"`
	Attest           []string          `json:"attest,omitempty"`
}

// Flags are those of the command line that show in the file.
type Flags struct {
	Args                       map[string]*string
	SSH                        string // "default" or NAME=PATH
	NoCache, Pull, Push, Check bool
}

// Labels that docker compose gives to what it builds.
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
)

// New describes all builds of a project; the group "default" are those that are asked for.
func New(p *project.Project, services []string, f Flags) File {
	file := File{Groups: map[string]Group{}, Targets: map[string]Target{}}
	names := targetNames(p)
	for name := range names {
		file.Targets[names[name]] = target(p, name, names, f)
	}
	var group Group
	for _, name := range withContexts(p, services) {
		group.Targets = append(group.Targets, names[name])
	}
	slices.Sort(group.Targets)
	file.Groups["default"] = group
	return file
}

// withContexts adds the services that are contexts of others, and leaves out those that are not built.
func withContexts(p *project.Project, services []string) []string {
	var all []string
	for queue := slices.Clone(services); len(queue) > 0; queue = queue[1:] {
		b := p.Services[queue[0]].Build
		if b == nil || slices.Contains(all, queue[0]) {
			continue
		}
		all = append(all, queue[0])
		for _, value := range b.AdditionalContexts {
			if other, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
				queue = append(queue, other)
			}
		}
	}
	return all
}

// targetNames gives each service that is built the name of its target, which has no dots.
func targetNames(p *project.Project) map[string]string {
	names, used := map[string]string{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		if p.Services[name].Build == nil {
			continue
		}
		t := strings.ReplaceAll(name, ".", "_")
		for used[t] {
			t += "_"
		}
		names[name], used[t] = t, true
	}
	return names
}

func target(p *project.Project, name string, names map[string]string, f Flags) Target {
	s := p.Services[name]
	b := s.Build
	t := Target{
		Context: b.Context, Contexts: map[string]string{}, Dockerfile: dockerfile(b), DockerfileInline: escape(b.DockerfileInline),
		Args: map[string]string{}, Labels: map[string]string{labelProject: p.Name, labelService: name},
		Tags: append(slices.Clone(b.Tags), p.ImageName(name)), CacheFrom: b.CacheFrom, CacheTo: b.CacheTo, Target: b.Target,
		Platforms: b.Platforms, Pull: b.Pull || f.Pull, NoCache: b.NoCache || f.NoCache, Network: b.Network, NoCacheFilter: b.NoCacheFilter,
		ShmSize: b.ShmSize, Ulimits: ulimits(b.Ulimits), Entitlements: b.Entitlements, ExtraHosts: map[string]string{},
		Attest: append(attest("provenance", b.Provenance), attest("sbom", b.SBOM)...),
	}
	for key, value := range b.AdditionalContexts {
		if other, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
			value = "target:" + names[other]
		}
		t.Contexts[key] = value
	}
	for _, args := range []map[string]*string{b.Args, f.Args} {
		for key, value := range args {
			if value != nil {
				t.Args[key] = escape(*value)
			}
		}
	}
	maps.Copy(t.Labels, b.Labels)
	for host, addresses := range b.ExtraHosts {
		t.ExtraHosts[host] = strings.Join(addresses, ",")
	}
	if b.Privileged {
		t.Entitlements = append(slices.Clone(t.Entitlements), "security.insecure")
	}
	t.Secrets = secrets(p, b.Secrets)
	for _, key := range b.SSH {
		t.SSH = append(t.SSH, key.ID+"="+key.Path)
	}
	slices.Sort(t.SSH) // the loader has them in the random order of a map
	if f.SSH != "" {
		if !strings.Contains(f.SSH, "=") {
			f.SSH += "="
		}
		t.SSH = append(t.SSH, f.SSH)
	}
	t.Outputs, t.Call = outputs(s, f)
	return t
}

// escape keeps bake from replacing variables a second time.
func escape(text string) string { return strings.ReplaceAll(text, "${", "$${") }

// dockerfile is its path without links in its folder; that in a git repository is left as it is.
func dockerfile(b *types.BuildConfig) string {
	path := b.Dockerfile
	if path == "" || b.DockerfileInline != "" {
		return ""
	}
	if strings.Contains(b.Context, "://") || strings.HasPrefix(b.Context, "git@") || strings.HasPrefix(b.Context, "github.com/") {
		return path
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.Context, path)
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

func ulimits(limits map[string]*types.UlimitsConfig) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if l := limits[name]; l.Single > 0 {
			out = append(out, fmt.Sprintf("%s=%d", name, l.Single))
		} else {
			out = append(out, fmt.Sprintf("%s=%d:%d", name, l.Soft, l.Hard))
		}
	}
	return out
}

func secrets(p *project.Project, refs []types.ServiceSecretConfig) []string {
	var out []string
	for _, ref := range refs {
		id := ref.Target
		if id == "" {
			id = ref.Source
		}
		switch o := p.Secrets[ref.Source]; {
		case o.Environment != "":
			out = append(out, fmt.Sprintf("id=%s,type=env,env=%s", id, o.Environment))
		case o.File != "":
			out = append(out, fmt.Sprintf("id=%s,type=file,src=%s", id, o.File))
		}
	}
	return out
}

func attest(kind, value string) []string {
	switch value {
	case "":
		return nil
	case "true":
		return []string{"type=" + kind}
	case "false":
		return []string{"type=" + kind + ",disabled=true"}
	}
	return []string{"type=" + kind + "," + value}
}

func outputs(s types.ServiceConfig, f Flags) (outputs []string, call string) {
	push := f.Push && s.Image != ""
	switch {
	case f.Check:
		return nil, "lint"
	case len(s.Build.Platforms) > 1:
		return []string{fmt.Sprintf("type=image,push=%t", push)}, ""
	case push:
		return []string{"type=registry"}, ""
	}
	return []string{"type=docker"}, ""
}
