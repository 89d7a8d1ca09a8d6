package project

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// Hash is the hash of everything about a service whose change makes its containers
// stale: 64 hex digits. It covers the resolved environment and labels, the names of
// the networks and volumes it uses, and the contents of configs and secrets that come
// from the file or the environment. It does not cover what takes effect without a new
// container or is not about containers: depends_on, scale, build, develop, profiles,
// pull_policy, attach, deploy's orchestration keys, x- keys but those of HealthExtensions and x-firewall.
func (p *Project) Hash(service string) string { return digest(p.Canonical(service)) }

// Canonical is what Hash is the hash of: a JSON object with sorted keys, one per
// attribute of the service, the same for the same meaning. Comparing two of them tells
// which attributes changed. Contents of secrets are in it as hashes only.
func (p *Project) Canonical(service string) json.RawMessage {
	s := p.Services[service]
	fields := flatten(hashedService(s))
	if refs := p.references(&s.ContainerSpec); len(refs) > 0 {
		fields["references"] = refs
	}
	if x := p.HealthExtensions(service); x != (HealthExtensions{}) { // the JSON form leaves x- keys out
		fields["healthcheck x-"] = x
	}
	if x := p.firewalls(service); len(x) > 0 {
		fields["ports x-firewall"] = x
	}
	return marshal(fields)
}

// NetworkHash is the hash of everything about a network that cannot be changed
// without making it anew; key is its name in the file.
func (p *Project) NetworkHash(key string) string { return digest(p.NetworkCanonical(key)) }

// NetworkCanonical is what NetworkHash is the hash of, as Canonical is for a service.
func (p *Project) NetworkCanonical(key string) json.RawMessage {
	n := p.Networks[key]
	if n.Driver == "" {
		n.Driver = "bridge"
	}
	return marshal(flatten(n))
}

// VolumeHash is the hash of everything about a volume that cannot be changed without
// making it anew; key is its name in the file.
func (p *Project) VolumeHash(key string) string {
	v := p.Volumes[key]
	if v.Driver == "" {
		v.Driver = "local"
	}
	return digest(marshal(flatten(v)))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// hashedService is a copy without what needs no new container.
func hashedService(s types.ServiceConfig) types.ServiceConfig {
	s.Profiles = nil
	s.Develop = nil
	s.Scale = nil
	s.Attach = nil
	s.Extends = nil
	s.Build = nil
	s.DependsOn = nil
	s.Provider = nil
	if s.Deploy != nil {
		s.Deploy = &types.DeployConfig{Resources: s.Deploy.Resources, RestartPolicy: s.Deploy.RestartPolicy}
	}
	s.ContainerSpec = hashedContainer(s.ContainerSpec)
	s.PreStart = slices.Clone(s.PreStart)
	for i := range s.PreStart {
		s.PreStart[i].ContainerSpec = hashedContainer(s.PreStart[i].ContainerSpec)
	}
	return s
}

func hashedContainer(c types.ContainerSpec) types.ContainerSpec {
	c.PullPolicy = ""
	c.PullRefreshAfter = ""
	c.Models = nil
	// Their values are in the environment and labels.
	c.EnvFiles = nil
	c.LabelFiles = nil
	// A network without options is the same in short and long form.
	c.Networks = maps.Clone(c.Networks)
	for name, n := range c.Networks {
		if n == nil {
			c.Networks[name] = &types.ServiceNetworkConfig{}
		}
	}
	return c
}

// references are the properties of top-level elements that a container is made from.
func (p *Project) references(c *types.ContainerSpec) map[string]string {
	refs := map[string]string{}
	for key := range c.Networks {
		refs["network "+key] = p.Networks[key].Name
	}
	for _, v := range c.Volumes {
		if v.Type == types.VolumeTypeVolume && v.Source != "" {
			refs["volume "+v.Source] = p.Volumes[v.Source].Name
		}
	}
	for _, ref := range c.Configs {
		refs["config "+ref.Source] = p.fileHash(types.FileObjectConfig(p.Configs[ref.Source]))
	}
	for _, ref := range c.Secrets {
		refs["secret "+ref.Source] = p.fileHash(types.FileObjectConfig(p.Secrets[ref.Source]))
	}
	return refs
}

// fileHash stands for the content of a config or secret. A file is mounted, so that its
// path is what counts, relative to the project so that a moved project is no change.
func (p *Project) fileHash(f types.FileObjectConfig) string {
	switch {
	case f.File != "":
		if rel, err := filepath.Rel(p.WorkingDir, f.File); err == nil && !strings.HasPrefix(rel, "..") {
			return "file " + rel
		}
		return "file " + f.File
	case bool(f.External):
		return "external " + f.Name
	}
	return digest([]byte(f.Content))
}

// flatten makes a map of the JSON form, so that the order of fields in the library's
// types does not matter: maps are marshalled by sorted keys.
func flatten(v any) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(marshal(v)))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		panic("compose types do not marshal to an object: " + err.Error())
	}
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	return fields
}

// marshal never fails: the types hold strings, numbers, lists and maps only, but for
// the x- keys, which their JSON form leaves out.
func marshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("compose types do not marshal: " + err.Error())
	}
	return b
}
