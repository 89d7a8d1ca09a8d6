package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"
)

// fileRef is a file that another one includes or extends.
type fileRef struct {
	path    string
	line    int
	service string // that extends it
	base    string // project_directory of an include
}

// references lists the files named by `include` and `extends.file`.
func (s *source) references() []fileRef {
	var refs []fileRef
	for _, doc := range s.docs {
		top := root(doc)
		if _, include := child(top, "include"); include != nil && include.Kind == yaml.SequenceNode {
			for _, entry := range include.Content {
				refs = append(refs, includeReferences(deref(entry))...)
			}
		}
		services := top
		if !s.v1 {
			_, services = child(top, "services")
		}
		if services == nil || services.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(services.Content); i += 2 {
			_, extends := child(deref(services.Content[i+1]), "extends")
			if _, file := child(extends, "file"); file != nil && file.Kind == yaml.ScalarNode {
				refs = append(refs, fileRef{path: file.Value, line: file.Line, service: services.Content[i].Value})
			}
		}
	}
	return refs
}

func includeReferences(n *yaml.Node) []fileRef {
	base := ""
	if _, dir := child(n, "project_directory"); dir != nil {
		base = dir.Value
	}
	if _, path := child(n, "path"); path != nil {
		n = path
	}
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	var refs []fileRef
	for _, item := range items {
		if item = deref(item); item.Kind == yaml.ScalarNode {
			refs = append(refs, fileRef{path: item.Value, line: item.Line, base: base})
		}
	}
	return refs
}

// explain says where a file that does not exist is named.
func (r fileRef) explain(s *source, err error) error {
	what := "the included file " + r.path + " does not exist"
	if r.service != "" {
		what = "it extends a service of " + r.path + ", which does not exist"
	}
	return &Error{File: s.path, Line: r.line, Service: r.service, What: what, Fix: "correct the path; it is relative to the project directory", err: err}
}

// sources are all files of a project: those given, and those that they include or
// extend, which are read for their bounds and lines.
type sources struct {
	files   []*source
	others  []*source
	missing map[string]error // by path of a file that is named but does not exist
	unread  bool             // there are references whose files are not known here
}

func readAll(l *location, stdin io.Reader) (*sources, error) {
	all := &sources{missing: map[string]error{}}
	seen := map[string]bool{}
	for _, path := range l.files {
		s, err := readSource(path, stdin)
		if err != nil {
			return nil, err
		}
		s.base = l.dir
		all.files = append(all.files, s)
		seen[path] = true
	}
	queue := slices.Clone(all.files)
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, ref := range s.references() {
			next, err := all.follow(l, s, ref, seen)
			if err != nil {
				return nil, err
			}
			if next != nil {
				queue = append(queue, next)
			}
		}
	}
	return all, nil
}

// follow reads a referenced file that was not read before. Whether a missing one is
// an error is left to the loader, which may know better what the path means.
func (all *sources) follow(l *location, s *source, ref fileRef, seen map[string]bool) (*source, error) {
	path := l.expand(ref.path)
	if path == "" || strings.Contains(path, "://") {
		all.unread = true
		return nil, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.base, path)
	}
	if seen[path] {
		return nil, nil
	}
	if seen[path] = true; len(seen) > maxFiles {
		return nil, &Error{File: s.path, Line: ref.line, What: fmt.Sprintf("more than %d files are included or extended", maxFiles), Fix: "use fewer files"}
	}
	next, err := readSource(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		all.missing[path] = ref.explain(s, err)
		all.unread = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next.base = filepath.Dir(path)
	if dir := l.expand(ref.base); dir != "" {
		if next.base = dir; !filepath.IsAbs(dir) {
			next.base = filepath.Join(s.base, dir)
		}
	}
	all.others = append(all.others, next)
	return next, nil
}

// expand replaces the variables of a path; "" when that is not possible.
func (l *location) expand(path string) string {
	if !strings.Contains(path, "$") {
		return path
	}
	out, err := template.SubstituteWithOptions(path, func(name string) (string, bool) {
		v, ok := l.env[name]
		return v, ok
	}, template.WithoutLogging)
	if err != nil {
		return ""
	}
	return out
}
