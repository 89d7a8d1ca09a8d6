package build

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/platforms"

	"tutti/runtime/image"
)

// Request is compose's build section, and what docker build adds to it, in plain
// values. Paths are absolute.
type Request struct {
	Context            string            // folder, the URL of a git repository or a tar, or "-" for Stdin
	Stdin              io.Reader         `json:"-"` // of the context "-": a tar, compressed or not, or the text of a Dockerfile
	Dockerfile         string            // file, absolute or relative to Context; empty: "Dockerfile"
	DockerfileInline   string            // text instead of a file
	AdditionalContexts map[string]string // name → folder, URL, "docker-image://name" or "oci-layout://folder[:tag][@digest]"
	BuiltContexts      map[string]string // name → an image of the store, which no registry is asked for
	Target             string            // stage; empty: the last one
	Args               map[string]string
	Labels             map[string]string
	Annotations        map[string]string // of the manifest
	Tags               []string          // names of the result
	Outputs            []Output          // empty: the image store

	CacheFrom     []string // an image's name or "type=registry,ref=..." as in docker; paths are absolute
	CacheTo       []string
	NoCache       bool
	NoCacheFilter []string // stages that are not taken from the cache
	Pull          bool     // look for newer base images in the registry

	Secrets []Secret
	SSH     []SSH

	Network      string              // "", "default", "host" or "none", for RUN steps
	ExtraHosts   map[string][]string // name → addresses, or "host-gateway" for the host's
	ShmSize      int64               // bytes; 0: default
	Ulimits      []Ulimit
	Limits       Limits   // of each RUN step
	Platforms    []string // at most the host's own
	Privileged   bool     // the entitlement security.insecure
	Entitlements []string // "network.host", "security.insecure"
	Provenance   string   // "", "false", "true" or "mode=max,..."
	SBOM         string   // "", "false", "true" or "generator=image,..."

	Auth image.Auth `json:"-"` // for registries; nil: anonymous
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

// Limits bound what each RUN step may use; zero values bound nothing. See docker
// build's --memory, --memory-swap, --cpu-shares, --cpu-period, --cpu-quota,
// --cpuset-cpus and --cpuset-mems.
type Limits struct {
	Memory, MemorySwap int64 // bytes; MemorySwap is both together, -1: without a limit
	CPUShares          int64
	CPUPeriod          int64 // microseconds
	CPUQuota           int64 // microseconds
	CPUs, Mems         string
}

// Validate finds what would fail before anything is built: attributes that are not supported, files and folders of the host
// that are missing.
func (r Request) Validate() error {
	if err := checkRequest(r); err != nil {
		return err
	}
	if _, err := newSecretStore(r.Secrets); err != nil {
		return err
	}
	for name, source := range r.AdditionalContexts {
		if !IsRemote(source) {
			if _, err := openFolder("additional context "+name, source); err != nil {
				return err
			}
		}
	}
	if r.Context == "-" || IsRemote(r.Context) {
		return nil
	}
	if _, err := openFolder("build context", r.Context); err != nil || r.DockerfileInline != "" {
		return err
	}
	_, err := findDockerfile(r.Context, r.Dockerfile)
	return err
}

func checkRequest(r Request) error {
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
	if err := checkPlatforms(r.Platforms); err != nil {
		return err
	}
	return errors.Join(checkEntitlements(r.Entitlements), checkCaches(r))
}

// checkPlatforms refuses platforms whose programs this host cannot run.
func checkPlatforms(names []string) error {
	for _, name := range names {
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

// checkEntitlements refuses those that nothing here can grant.
func checkEntitlements(wanted []string) error {
	for _, e := range wanted {
		if !slices.Contains(grantable, e) {
			return fmt.Errorf("entitlement %q is not supported: a build can have %s", e, strings.Join(grantable, " and "))
		}
	}
	return nil
}

func checkCaches(r Request) error {
	for key, entries := range map[string][]string{"cache_from": r.CacheFrom, "cache_to": r.CacheTo} {
		if _, err := parseCache(entries); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}
