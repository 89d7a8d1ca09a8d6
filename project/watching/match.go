package watching

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
)

// matcher holds patterns in the notation of .dockerignore, relative to a folder.
type matcher struct {
	base     string
	patterns *patternmatcher.PatternMatcher
	// exceptions are the parts without wildcards that the patterns with ! begin with.
	exceptions []string
}

// newMatcher reads patterns. An absolute one that leads below base is relative to it, any other begins there.
func newMatcher(base string, patterns []string) (*matcher, error) {
	m := &matcher{base: base}
	clean := make([]string, 0, len(patterns))
	for _, p := range patterns {
		p = strings.TrimSpace(p)
		p, except := strings.CutPrefix(p, "!")
		if p == "" {
			continue
		}
		if rel, inside := below(base, filepath.Clean(p)); inside {
			p = rel
		}
		p = strings.TrimPrefix(filepath.Clean(p), "/")
		if except {
			m.exceptions = append(m.exceptions, literal(p))
			p = "!" + p
		}
		clean = append(clean, p)
	}
	var err error
	m.patterns, err = patternmatcher.New(clean)
	return m, err
}

// literal is what a pattern begins with that stands for itself, in whole parts.
func literal(pattern string) string {
	parts := strings.Split(pattern, "/")
	wild := slices.IndexFunc(parts, func(part string) bool { return strings.ContainsAny(part, `*?[\`) })
	if wild >= 0 {
		parts = parts[:wild]
	}
	return strings.Join(parts, "/")
}

// matches tells whether a path, or a folder that it is in, is one of the patterns'.
func (m *matcher) matches(path string) bool {
	rel, inside := below(m.base, path)
	if !inside || rel == "." {
		return false
	}
	is, err := m.patterns.MatchesOrParentMatches(rel)
	return err == nil && is // the patterns were checked when they were read
}

// matchesAll tells whether everything in a folder is sure to match.
func (m *matcher) matchesAll(folder string) bool {
	if !m.matches(folder) {
		return false
	}
	rel, _ := below(m.base, folder)
	return !slices.ContainsFunc(m.exceptions, func(e string) bool {
		_, inside := below(rel, e)
		_, around := below(e, rel)
		return e == "" || inside || around
	})
}

// below is a path relative to a folder that it is in, or ".".
func below(folder, path string) (rel string, inside bool) {
	if path == folder {
		return ".", true
	}
	if folder == "/" {
		return strings.TrimPrefix(path, "/"), strings.HasPrefix(path, "/")
	}
	return strings.CutPrefix(path, folder+"/")
}

// temporary tells whether a name is one that editors and tools give to files of a moment, or .git, which nobody wants in a
// container: those that docker compose leaves alone.
func temporary(name string) bool {
	switch name {
	case ".git", ".idea", "4913": // the last: by which vim tries whether it may write
		return true
	}
	for _, end := range []string{"___jb_old___", "___jb_tmp___", "~", "-go-tmp-umask"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	if !strings.HasPrefix(name, ".") {
		return len(name) > 1 && strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#") // emacs
	}
	if strings.HasPrefix(name, ".#") {
		return true
	}
	for _, end := range []string{".swp", ".swx", ".swo", ".swn", ".kate-swp"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// temporaryIn tells whether a part of a relative path is temporary.
func temporaryIn(rel string) bool {
	for part := range strings.SplitSeq(rel, "/") {
		if temporary(part) {
			return true
		}
	}
	return false
}
