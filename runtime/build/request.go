package build

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/tonistiigi/go-csvvalue"

	"tutti/runtime/image"
)

// Request is compose's build section in plain values. Paths are absolute.
type Request struct {
	Context            string            // folder, or the URL of a git repository or a tar
	Dockerfile         string            // file, absolute or relative to Context; empty: "Dockerfile"
	DockerfileInline   string            // text instead of a file
	AdditionalContexts map[string]string // name → folder, URL, "docker-image://name" or "oci-layout://..."
	Target             string            // stage; empty: the last one
	Args               map[string]string
	Labels             map[string]string
	Tags               []string // names of the result

	CacheFrom     []string // an image's name or "type=registry,ref=..." as in docker
	CacheTo       []string
	NoCache       bool
	NoCacheFilter []string // stages that are not taken from the cache
	Pull          bool     // look for newer base images in the registry

	Secrets []Secret
	SSH     []SSH

	Network    string            // "", "default", "host" or "none", for RUN steps
	ExtraHosts map[string]string // name → address
	ShmSize    int64             // bytes; 0: default
	Ulimits    []Ulimit
	Platforms  []string // at most the host's own
	Privileged bool     // refused

	Auth image.Auth // for registries; nil: anonymous
}

// Secret is a value for "RUN --mount=type=secret", from memory or from a file that
// is read when a step wants it.
type Secret struct {
	ID    string
	File  string
	Value []byte // used when File is empty
}

// SSH is an agent's socket or key files for "RUN --mount=type=ssh".
type SSH struct {
	ID    string   // empty: "default"
	Paths []string // empty: $SSH_AUTH_SOCK
}

// Ulimit is a resource limit of RUN steps, such as "nofile".
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// solveOptions turns a request into BuildKit's.
func (b *Builder) solveOptions(r Request) (client.SolveOpt, error) {
	solve := client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: map[string]string{},
		Exports: []client.ExportEntry{{Type: client.ExporterImage, Attrs: map[string]string{
			"dangling-name-prefix": b.backend.DanglingPrefix,
			"unpack":               "true",
			"oci-mediatypes":       "true",
			"compression":          "uncompressed", // layers are read here, not sent
		}}},
		Internal: true, // no build history, nobody could look at it
	}
	if err := checkRequest(r); err != nil {
		return solve, err
	}
	setAttributes(solve.FrontendAttrs, r)
	if r.Network == "host" {
		solve.AllowedEntitlements = []string{string(entitlements.EntitlementNetworkHost)}
	}
	var err error
	if solve.CacheImports, err = parseCache(r.CacheFrom); err != nil {
		return solve, fmt.Errorf("cache_from: %w", err)
	}
	if solve.CacheExports, err = parseCache(r.CacheTo); err != nil {
		return solve, fmt.Errorf("cache_to: %w", err)
	}
	if err := addContexts(&solve, r); err != nil {
		return solve, err
	}
	solve.Session, err = attachables(r)
	return solve, err
}

func checkRequest(r Request) error {
	if r.Privileged {
		return errors.New("privileged builds are not supported")
	}
	for _, tag := range r.Tags {
		if _, err := image.Normalize(tag); err != nil {
			return err
		}
	}
	switch r.Network {
	case "", "default", "host", "none":
	default:
		return fmt.Errorf("network %q: a build has the network default, host or none", r.Network)
	}
	for _, name := range r.Platforms {
		p, err := platforms.Parse(name)
		if err != nil {
			return fmt.Errorf("platform %q: %w", name, err)
		}
		if !platforms.Default().Match(p) {
			return fmt.Errorf("platform %s: this host builds for %s only", name, platforms.Format(platforms.DefaultSpec()))
		}
	}
	return nil
}

// setAttributes sets the options of the Dockerfile frontend, see BuildKit's
// frontend/dockerui/config.go.
func setAttributes(attrs map[string]string, r Request) {
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	set("target", r.Target)
	for key, value := range r.Args {
		attrs["build-arg:"+key] = value
	}
	for key, value := range r.Labels {
		attrs["label:"+key] = value
	}
	attrs["image-resolve-mode"] = "local"
	if r.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	switch {
	case r.NoCache:
		attrs["no-cache"] = ""
	case len(r.NoCacheFilter) > 0:
		attrs["no-cache"] = strings.Join(r.NoCacheFilter, ",")
	}
	if r.Network != "default" {
		set("force-network-mode", r.Network)
	}
	var hosts, limits []string
	for _, name := range slices.Sorted(maps.Keys(r.ExtraHosts)) {
		hosts = append(hosts, name+"="+r.ExtraHosts[name])
	}
	set("add-hosts", strings.Join(hosts, ","))
	for _, u := range r.Ulimits {
		limits = append(limits, fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	set("ulimit", strings.Join(limits, ","))
	if r.ShmSize > 0 {
		attrs["shm-size"] = strconv.FormatInt(r.ShmSize, 10)
	}
}

// parseCache reads docker's notation of a cache: "type=local,src=dir", or the name
// of an image in a registry.
func parseCache(entries []string) ([]client.CacheOptionsEntry, error) {
	var list []client.CacheOptionsEntry
	for _, entry := range entries {
		if !strings.Contains(entry, "=") {
			list = append(list, client.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": entry}})
			continue
		}
		fields, err := csvvalue.Fields(entry, nil)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		parsed := client.CacheOptionsEntry{Attrs: map[string]string{}}
		for _, field := range fields {
			key, value, ok := strings.Cut(field, "=")
			if !ok {
				return nil, fmt.Errorf("%q: %q is not key=value", entry, field)
			}
			if key == "type" {
				parsed.Type = value
				continue
			}
			parsed.Attrs[key] = value
		}
		switch parsed.Type {
		case "registry", "local", "inline":
		default:
			return nil, fmt.Errorf("%q: cache type %q is not supported: registry, local or inline", entry, parsed.Type)
		}
		list = append(list, parsed)
	}
	return list, nil
}
