// Package imagebuild turns what users write about builds (the build section of a compose file, docker build's flags, the
// parameters of the Docker Engine API) into requests to the builder. It is pure: nothing is built here.
package imagebuild

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/project"
	"tutti/runtime/build"
	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/credentials"
)

// Flags are what the command line says beyond the file.
type Flags struct {
	NoCache, Pull, Push bool
	Args                map[string]*string
	SSH                 []api.BuildSSH
	Memory              int64
	Provenance, SBOM    string
}

// User is in whose name a build runs.
type User struct {
	api.ClientContext
	Auth  image.Auth
	Proxy map[string]*string // build args of the user's docker configuration (its "proxies"), below all others
}

// NewUser reads what the docker configuration of a client's user says about builds: credentials, and proxies.
func NewUser(c api.ClientContext) (User, error) {
	proxy, err := credentials.Proxy(c.DockerConfig)
	return User{ClientContext: c, Auth: credentials.Registry(c.DockerConfig), Proxy: proxy}, err
}

// Compose reads a service's build section.
func Compose(p *project.Project, service string, f Flags, u User) (build.Request, error) {
	s := p.Services[service]
	c := s.Build
	q := build.Request{
		Context: c.Context, Dockerfile: c.Dockerfile, DockerfileInline: c.DockerfileInline,
		AdditionalContexts: map[string]string{}, BuiltContexts: map[string]string{},
		Target: c.Target, Args: arguments(u.Proxy, c.Args, f.Args), Labels: labels(p, service), Tags: append([]string{p.ImageName(service)}, c.Tags...),
		CacheFrom: localCaches(c.CacheFrom, u.Dir), CacheTo: localCaches(c.CacheTo, u.Dir), NoCache: c.NoCache || f.NoCache, NoCacheFilter: c.NoCacheFilter,
		Pull: c.Pull || f.Pull, Network: c.Network, ExtraHosts: c.ExtraHosts, ShmSize: int64(c.ShmSize), Platforms: c.Platforms,
		Privileged: c.Privileged, Entitlements: c.Entitlements, Limits: build.Limits{Memory: f.Memory},
		Provenance: first(f.Provenance, c.Provenance), SBOM: first(f.SBOM, c.SBOM), Auth: u.Auth,
	}
	if q.Platforms == nil && s.Platform != "" {
		q.Platforms = []string{s.Platform}
	}
	if f.Push && s.Image != "" {
		q.Outputs = []build.Output{{Type: "registry"}}
	}
	for name, value := range c.AdditionalContexts {
		if other, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
			q.BuiltContexts[name] = p.ImageName(other)
			continue
		}
		q.AdditionalContexts[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ulimits)) {
		l := c.Ulimits[name]
		limit := build.Ulimit{Name: name, Soft: int64(l.Soft), Hard: int64(l.Hard)}
		if l.Single != 0 {
			limit.Soft, limit.Hard = int64(l.Single), int64(l.Single)
		}
		q.Ulimits = append(q.Ulimits, limit)
	}
	var err error
	if q.Secrets, err = secrets(p, c.Secrets); err != nil {
		return q, err
	}
	keys := slices.Clone(f.SSH)
	for _, k := range c.SSH {
		key := api.BuildSSH{ID: k.ID}
		if k.Path != "" {
			key.Paths = []string{k.Path}
		}
		keys = append(keys, key)
	}
	q.SSH = agents(keys, u.SSHAuthSock, &q)
	return q, nil
}

// labels are those of the file, and docker compose's.
func labels(p *project.Project, service string) map[string]string {
	l := map[string]string{}
	maps.Copy(l, p.Services[service].Build.Labels)
	l[api.LabelProject], l[api.LabelService] = p.Name, service
	return l
}

// arguments puts build args over one another. One without a value is not set, as it would be in docker.
func arguments(layers ...map[string]*string) map[string]string {
	out := map[string]string{}
	for _, args := range layers {
		for k, v := range args {
			if v != nil {
				out[k] = *v
			}
		}
	}
	return out
}

func secrets(p *project.Project, refs []types.ServiceSecretConfig) ([]build.Secret, error) {
	var out []build.Secret
	for _, ref := range refs {
		o := p.Secrets[ref.Source]
		secret := build.Secret{ID: first(ref.Target, ref.Source), File: o.File}
		switch {
		case o.Environment != "" && o.Content == "": // the loader resolves it, from the user's environment
			return nil, fmt.Errorf("build secret %s: the environment variable %s is not set, or empty", ref.Source, o.Environment)
		case o.File == "":
			secret.Value = []byte(o.Content)
		}
		out = append(out, secret)
	}
	return out, nil
}

// agents are the keys of a build. A context from git over ssh needs an agent that is not asked for: it is the user's.
func agents(keys []api.BuildSSH, socket string, q *build.Request) []build.SSH {
	needed := overSSH(q.Context)
	for _, source := range q.AdditionalContexts {
		needed = needed || overSSH(source)
	}
	isDefault := func(k api.BuildSSH) bool { return k.ID == "" || k.ID == "default" }
	if needed && socket != "" && !slices.ContainsFunc(keys, isDefault) {
		keys = append(keys, api.BuildSSH{ID: "default"})
	}
	var out []build.SSH
	for _, k := range keys {
		if len(k.Paths) == 0 && socket != "" {
			k.Paths = []string{socket}
		}
		out = append(out, build.SSH{ID: k.ID, Paths: k.Paths})
	}
	return out
}

func overSSH(context string) bool {
	return strings.HasPrefix(context, "git@") || strings.HasPrefix(context, "ssh://")
}

// localCaches resolves the paths of caches in folders against the user's working folder, as docker does.
func localCaches(entries []string, dir string) []string {
	var out []string
	for _, entry := range entries {
		if strings.Contains(entry, "type=local") {
			fields := strings.Split(entry, ",")
			for i, field := range fields {
				key, path, ok := strings.Cut(field, "=")
				if ok && (key == "src" || key == "dest") && !filepath.IsAbs(path) {
					fields[i] = key + "=" + filepath.Join(dir, path)
				}
			}
			entry = strings.Join(fields, ",")
		}
		out = append(out, entry)
	}
	return out
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
