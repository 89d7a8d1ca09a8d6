// Package watching reads the sections `develop.watch` of a project: which files of the host are watched, and what has to be
// done when some of them have changed. It looks at no file but .dockerignore; the watching itself is the command line's.
//
// The section is that of the compose specification
// (https://github.com/compose-spec/compose-spec/blob/main/develop.md), in the meaning docker compose gives it.
package watching

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/patternmatcher/ignorefile"

	"tutti/project"
)

// ErrNothing is returned when no service that was chosen says what to watch. The text is docker compose's.
var ErrNothing = errors.New("none of the selected services is configured for watch, consider setting a 'develop' section")

// Set is what a project wants to be watched. Its methods may be called from several goroutines.
type Set struct {
	Services []string // that are watched, sorted
	Warnings []string // one line each

	rules []*rule
	files map[string]bool // that the rules themselves come from: .dockerignore
	mu    sync.Mutex      // of the patterns, which are compiled when they are first used
}

// rule is one trigger of one service.
type rule struct {
	types.Trigger
	service         string
	ignore, include *matcher // include is nil for everything
	dockerignore    *matcher // nil: there is none
}

// New reads the sections of the services named and of what they depend on, of all that are enabled by default.
func New(p *project.Project, services []string) (*Set, error) {
	if len(services) == 0 {
		services = p.ServiceNames()
	} else {
		services = p.Graph().With(services...)
	}
	s := &Set{files: map[string]bool{}}
	for _, name := range slices.Sorted(slices.Values(services)) {
		if err := s.add(p, name); err != nil {
			return nil, err
		}
	}
	if len(s.Services) == 0 {
		return nil, ErrNothing
	}
	return s, nil
}

func (s *Set) add(p *project.Project, name string) error {
	service := p.Services[name]
	if _, old := service.Extensions["x-develop"]; old {
		s.Warnings = append(s.Warnings, fmt.Sprintf("service %q: x-develop has no effect: name the section develop", name))
	}
	if service.Develop == nil || len(service.Develop.Watch) == 0 {
		return nil
	}
	dockerignore, err := s.dockerignore(p, name)
	if err != nil {
		return err
	}
	s.Services = append(s.Services, name)
	for i, trigger := range service.Develop.Watch {
		fail := func(what, fix string) error {
			file, line := p.Position("services", name, "develop", "watch", strconv.Itoa(i))
			return &project.Error{File: file, Line: line, Service: name, What: what, Fix: fix}
		}
		r := &rule{Trigger: trigger, service: name, dockerignore: dockerignore}
		r.Path = canonical(r.Path)
		switch {
		case r.Action == types.WatchActionRebuild && service.Build == nil:
			return fail("can't watch with action rebuild without a build context", "give the service a build section, or take another action")
		case r.Action == types.WatchActionSyncExec && len(r.Exec.Command) == 0:
			return fail("can't watch with action sync+exec without a command", "give it exec.command")
		case r.syncs() && path.Clean("/"+r.Target) == "/":
			return fail("the target of a watch is the root of the container", "name a folder in it")
		case r.syncs() && mounted(r.Path, service.Volumes):
			s.Warnings = append(s.Warnings, fmt.Sprintf("path '%s' also declared by a bind mount volume, this path won't be monitored!", r.Path))
			continue
		}
		if r.ignore, err = newMatcher(r.Path, r.Ignore); err != nil {
			return fail(fmt.Sprintf("ignore of its watch: %v", err), "correct the pattern")
		}
		if len(r.Include) > 0 {
			if r.include, err = newMatcher(r.Path, r.Include); err != nil {
				return fail(fmt.Sprintf("include of its watch: %v", err), "correct the pattern")
			}
		}
		s.rules = append(s.rules, r)
	}
	return nil
}

// dockerignore reads what a service's build ignores: <Dockerfile>.dockerignore, or else .dockerignore.
func (s *Set) dockerignore(p *project.Project, name string) (*matcher, error) {
	build := p.Services[name].Build
	if build == nil || !filepath.IsAbs(build.Context) {
		return nil, nil
	}
	candidates := []string{filepath.Join(build.Context, ".dockerignore")}
	if build.Dockerfile != "" {
		own := build.Dockerfile
		if !filepath.IsAbs(own) {
			own = filepath.Join(build.Context, own)
		}
		candidates = slices.Insert(candidates, 0, own+".dockerignore")
	}
	for _, file := range candidates {
		s.files[file] = true
	}
	for _, file := range candidates {
		patterns, err := readIgnoreFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var m *matcher
		if err == nil {
			m, err = newMatcher(build.Context, patterns)
		}
		if err != nil {
			return nil, &project.Error{File: file, Service: name, What: fmt.Sprintf("cannot read what the build ignores: %v", err), Fix: "correct the file"}
		}
		return m, nil
	}
	return nil, nil
}

// maxIgnoreFile bounds a .dockerignore.
const maxIgnoreFile = 1 << 20

// readIgnoreFile reads patterns. One that ignores everything, without exception, is for builds without a context: it would leave
// nothing to watch.
func readIgnoreFile(file string) ([]string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIgnoreFile {
		return nil, errors.New("it is no file of less than 1 MB")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	excepts := slices.ContainsFunc(patterns, func(p string) bool { return strings.HasPrefix(p, "!") })
	if !excepts && slices.ContainsFunc(patterns, func(p string) bool { return p == "*" || p == "**" }) {
		return nil, err
	}
	return patterns, err
}

// canonical is a path without symbolic links, as far as there is something at it.
func canonical(path string) string {
	path = filepath.Clean(path)
	for up, rest := path, ""; up != "/" && up != "."; up, rest = filepath.Dir(up), filepath.Join(filepath.Base(up), rest) {
		if real, err := filepath.EvalSymlinks(up); err == nil {
			return filepath.Join(real, rest)
		}
	}
	return path
}

// mounted tells whether a path is in a folder that is mounted into the containers.
func mounted(path string, volumes []types.ServiceVolumeConfig) bool {
	return slices.ContainsFunc(volumes, func(v types.ServiceVolumeConfig) bool {
		if v.Type != types.VolumeTypeBind {
			return false
		}
		_, inside := below(filepath.Clean(v.Source), path)
		return inside
	})
}

func (r *rule) syncs() bool {
	switch r.Action {
	case types.WatchActionSync, types.WatchActionSyncRestart, types.WatchActionSyncExec:
		return true
	case types.WatchActionRebuild, types.WatchActionRestart:
	}
	return false
}

// wants tells whether a change of a path is the rule's business.
func (r *rule) wants(path string) bool {
	rel, inside := below(r.Path, path)
	if !inside || temporaryIn(rel) {
		return false
	}
	return (r.include == nil || r.include.matches(path)) && !r.ignore.matches(path) && (r.dockerignore == nil || !r.dockerignore.matches(path))
}

// Roots are the files and folders to be watched, sorted.
func (s *Set) Roots() []string {
	roots := map[string]bool{}
	for _, r := range s.rules {
		roots[r.Path] = true
	}
	return slices.Sorted(maps.Keys(roots))
}

// Files are those that the set itself was read from, sorted; they need not be there.
func (s *Set) Files() []string { return slices.Sorted(maps.Keys(s.files)) }

// Wants tells whether a change of a path is of interest.
func (s *Set) Wants(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.rules, func(r *rule) bool { return r.wants(path) })
}

// Skips tells whether nothing in a folder can be of interest. The folders that it is in are taken not to be skipped.
func (s *Set) Skips(folder string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := filepath.Base(folder)
	for _, r := range s.rules {
		rel, inside := below(r.Path, folder)
		if !inside {
			continue
		}
		if rel == "." || !temporary(name) && !r.ignore.matchesAll(folder) && (r.dockerignore == nil || !r.dockerignore.matchesAll(folder)) {
			return false
		}
	}
	return true
}
