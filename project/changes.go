package project

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Change is an element of a project that is different in another.
type Change struct {
	Kind           string // service, network, volume, config or secret
	Name           string
	Added, Removed bool
	Keys           []string // the attributes that differ, sorted
}

// Changes compares two models of a project by what they mean, not by how they are written.
func Changes(last, next *Project) []Change {
	var all []Change
	for _, kind := range []struct {
		name     string
		elements func(*Project) map[string]map[string]any
	}{
		{"service", (*Project).serviceAttributes},
		{"network", func(p *Project) map[string]map[string]any { return attributes(p.Networks) }},
		{"volume", func(p *Project) map[string]map[string]any { return attributes(p.Volumes) }},
		{"config", func(p *Project) map[string]map[string]any { return attributes(p.Configs) }},
		{"secret", func(p *Project) map[string]map[string]any { return attributes(p.Secrets) }},
	} {
		before, after := kind.elements(last), kind.elements(next)
		names := map[string]bool{}
		for name := range before {
			names[name] = true
		}
		for name := range after {
			names[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			c := Change{Kind: kind.name, Name: name, Added: before[name] == nil, Removed: after[name] == nil}
			if !c.Added && !c.Removed {
				c.Keys = differentKeys(before[name], after[name])
			}
			if c.Added || c.Removed || len(c.Keys) > 0 {
				all = append(all, c)
			}
		}
	}
	return all
}

func attributes[T any](elements map[string]T) map[string]map[string]any {
	all := map[string]map[string]any{}
	for name, e := range elements {
		all[name] = flatten(e)
	}
	return all
}

// serviceAttributes are all of every service's, with what it takes from elsewhere.
func (p *Project) serviceAttributes() map[string]map[string]any {
	all := attributes(p.Services)
	for name, fields := range all {
		var hashed map[string]any
		if json.Unmarshal(p.Canonical(name), &hashed) == nil {
			for _, key := range []string{"references", "healthcheck x-", "ports x-firewall"} {
				if value, ok := hashed[key]; ok {
					fields[key] = value
				}
			}
		}
	}
	return all
}

func differentKeys(before, after map[string]any) []string {
	keys := map[string]bool{}
	for key, value := range before {
		if other, ok := after[key]; !ok || !bytes.Equal(marshal(value), marshal(other)) {
			keys[key] = true
		}
	}
	for key := range after {
		if _, ok := before[key]; !ok {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}
