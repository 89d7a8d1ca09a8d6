package project

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// CheckBuild finds what is missing on disk for building a service's image: its context,
// its Dockerfile, its additional contexts. It is for services that are about to be built;
// Load does not ask for what may never be needed. A service without a build section is fine.
func (p *Project) CheckBuild(service string) error {
	b := p.Services[service].Build
	if b == nil {
		return nil
	}
	if !remoteContext(b.Context) {
		info, err := os.Stat(b.Context)
		if err != nil {
			return p.buildError(service, "context", fmt.Sprintf("its build context %s cannot be read: %s", b.Context, reason(err)), err)
		}
		if !info.IsDir() {
			return p.buildError(service, "context", fmt.Sprintf("its build context %s is not a directory", b.Context), nil)
		}
		if err := p.checkDockerfile(service, b); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.AdditionalContexts)) {
		value := b.AdditionalContexts[name]
		if remoteContext(value) || strings.HasPrefix(value, types.ServicePrefix) {
			continue
		}
		if _, err := os.Stat(value); err != nil {
			return p.buildError(service, "additional_contexts", fmt.Sprintf("its additional context %q, %s, cannot be read: %s", name, value, reason(err)), err)
		}
	}
	return nil
}

func (p *Project) checkDockerfile(service string, b *types.BuildConfig) error {
	if b.DockerfileInline != "" || b.Dockerfile == "" || remoteContext(b.Dockerfile) {
		return nil
	}
	path := b.Dockerfile
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.Context, path)
	}
	if _, err := os.Stat(path); err != nil {
		return p.buildError(service, "dockerfile", fmt.Sprintf("its Dockerfile %s cannot be read: %s", path, reason(err)), err)
	}
	return nil
}

func (p *Project) buildError(service, key, what string, err error) error {
	file, line := p.Position("services", service, "build", key)
	return &Error{File: file, Line: line, Service: service, What: what, Fix: "correct `build." + key + "` or create it", err: err}
}

// remoteContext tells whether a build context is not a local path (docker's rule for
// git references and URLs).
func remoteContext(context string) bool {
	return strings.Contains(context, "://") || strings.HasPrefix(context, "git@") || strings.HasPrefix(context, "github.com/")
}
