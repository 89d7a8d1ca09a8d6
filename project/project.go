// Package project turns compose files and an environment into a resolved, named
// and hashed Project and its dependency Graph.
//
// It is pure but for reading the files that it is given: no kernel, no engine, no
// network. The compose specification is implemented by compose-go; this package
// adds what the command line promises around it: bounded input, errors that name
// file, line and service, warnings about keys without effect, hashes, the graph,
// the wire form for the engine and the output of `config`.
package project

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// Project is a loaded compose project. It is not changed after Load or Decode.
type Project struct {
	*types.Project

	warnings  []string
	positions positions
	files     []string
}

// Options say what to load. The zero value loads the default files found in the
// current directory or above it, without any environment.
type Options struct {
	// Files are the -f flags in order; "-" reads Stdin. Empty: COMPOSE_FILE, then
	// the default names.
	Files []string
	// EnvFiles are the --env-file flags in order. Empty: COMPOSE_ENV_FILES, then .env.
	EnvFiles []string
	// Profiles are the --profile flags. Empty: COMPOSE_PROFILES.
	Profiles []string
	// ProjectDir is --project-directory. Empty: the first file's folder.
	ProjectDir string
	// Name is -p. Empty: COMPOSE_PROJECT_NAME, `name:` of the files, the folder.
	Name string
	// WorkingDir is where relative paths and the search for files begin; empty is
	// the process's.
	WorkingDir string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Stdin is read for the file "-".
	Stdin io.Reader
	// Services selects these services (profiles permitting) and what they depend on.
	// Empty: all that the profiles enable.
	Services []string

	// The following are flags of `config`.
	NoInterpolate    bool
	NoNormalize      bool
	NoConsistency    bool
	NoPathResolution bool
	NoEnvResolution  bool
}

// Warnings are remarks about the files for the user, one line each: keys that have
// no effect, variables that are not set, obsolete attributes.
func (p *Project) Warnings() []string { return p.warnings }

// NetworkUsers says which services have a network, by its key: `network of service "a"`. It is empty if none has.
func (p *Project) NetworkUsers(key string) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		if _, ok := p.Services[name].Networks[key]; ok {
			names = append(names, strconv.Quote(name))
		}
	}
	switch n := len(names); {
	case n == 0:
		return ""
	case n == 1:
		return "network of service " + names[0]
	case n > maxNamed:
		return fmt.Sprintf("network of services %s and %d more", strings.Join(names[:maxNamed], ", "), n-maxNamed)
	default:
		return "network of services " + strings.Join(names, ", ")
	}
}

// maxNamed is how many services a message names.
const maxNamed = 3

// ImageName is the reference of the image that a service's containers run: its
// `image`, or <project>-<service> when it is only built.
func (p *Project) ImageName(service string) string {
	s := p.Services[service]
	if s.Image != "" {
		return s.Image
	}
	return p.Name + "-" + service
}
