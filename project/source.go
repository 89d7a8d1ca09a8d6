package project

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
)

// Bounds of the input. A compose file of a thousand services has about 0.5 MB and
// 50,000 nodes.
const (
	maxFileSize = 2 << 20
	maxNodes    = 250_000 // of one file with its aliases expanded
	maxFiles    = 1_000   // reached by include and extends
)

// source is a file as read, with its YAML nodes.
type source struct {
	path    string
	content []byte       // as the loader gets it
	docs    []*yaml.Node // as the user wrote it
	v1      bool         // no services key: the whole file is one
	base    string       // what its include and extends paths are relative to
}

// readSource reads and parses a file within the bounds.
func readSource(path string, stdin io.Reader) (*source, error) {
	content, err := readFile(path, stdin)
	if err != nil {
		return nil, err
	}
	s := &source{path: path, content: content}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, syntaxError(path, err)
		}
		s.docs = append(s.docs, &doc)
	}
	if err := s.checkNodes(); err != nil {
		return nil, err
	}
	s.modernise()
	return s, nil
}

func readFile(path string, stdin io.Reader) ([]byte, error) {
	var r io.Reader
	if path == "-" {
		if stdin == nil {
			return nil, &Error{File: path, What: "there is no standard input to read"}
		}
		r = stdin
	} else {
		if err := checkSize(path); err != nil {
			return nil, err
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, &Error{File: path, What: "cannot read this compose file: " + reason(err), Fix: "check the path given with -f or COMPOSE_FILE", err: err}
		}
		defer f.Close()
		r = f
	}
	content, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, &Error{File: path, What: "cannot read this compose file: " + reason(err), err: err}
	}
	if len(content) > maxFileSize {
		return nil, tooLarge(path)
	}
	return content, nil
}

// checkSize refuses large files and what is no file before it is opened: a FIFO
// would block, a device might never end.
func checkSize(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return &Error{File: path, What: "cannot read this file: " + reason(err), Fix: "check the path", err: err}
	case info.IsDir():
		return &Error{File: path, What: "this is a directory, not a file", Fix: "name a file in it"}
	case info.Mode()&(os.ModeDevice|os.ModeSocket) != 0 && path != os.DevNull:
		return &Error{File: path, What: "this is not a regular file", Fix: "name a file"}
	case info.Size() > maxFileSize:
		return tooLarge(path)
	}
	return nil
}

func tooLarge(path string) error {
	return &Error{
		File: path,
		What: fmt.Sprintf("the file is larger than %d MB", maxFileSize>>20),
		Fix:  "split it with include",
	}
}

// Where the parser's messages say what they are about: "at L2.C3-L4.C4", of which
// the end is where it gave up, or "line 4".
var (
	yamlSpan   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bL(\d+)\.C\d+(?:-L(\d+)\.C\d+)?`) })
	yamlLine   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bline (\d+)`) })
	yamlPrefix = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:yaml: )?go-yaml load error in \w+(?: \(while ([^)]*)\))? at [^:]*: `)
	})
)

// syntaxError names the line that the parser complains about.
func syntaxError(path string, err error) error {
	msg := oneLine(err.Error())
	e := &Error{File: path, Fix: "correct the YAML: indent with spaces only, and quote values with special characters", err: err}
	if m := yamlSpan().FindStringSubmatch(msg); m != nil {
		e.Line, _ = strconv.Atoi(cmp.Or(m[2], m[1]))
	} else if m := yamlLine().FindStringSubmatch(msg); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
	}
	what := yamlPrefix().ReplaceAllString(msg, "")
	if m := yamlPrefix().FindStringSubmatch(msg); m != nil && m[1] != "" {
		what += ", " + m[1]
	}
	e.What = "this is not valid YAML: " + strings.TrimPrefix(what, "yaml: ")
	return e
}

// checkNodes bounds the number of nodes with aliases expanded, which costs time
// linear in the file: "billion laughs" is refused before anybody expands it.
func (s *source) checkNodes() error {
	sizes := map[*yaml.Node]int{}
	open := map[*yaml.Node]bool{}
	var size func(n *yaml.Node) (int, error)
	size = func(n *yaml.Node) (int, error) {
		if n.Kind == yaml.ScalarNode {
			return 1, nil
		}
		if known, ok := sizes[n]; ok {
			return known, nil
		}
		if open[n] {
			return 0, &Error{File: s.path, Line: n.Line, What: "this anchor contains itself", Fix: "remove the alias"}
		}
		if err := s.checkKeys(n); err != nil {
			return 0, err
		}
		open[n] = true
		total := 1
		children := n.Content
		if n.Kind == yaml.AliasNode {
			children = []*yaml.Node{n.Alias}
		}
		for _, child := range children {
			sub, err := size(child)
			if err != nil {
				return 0, err
			}
			if total += sub; total > maxNodes {
				return 0, &Error{
					File: s.path, Line: n.Line,
					What: fmt.Sprintf("the file has more than %d values once its aliases are expanded", maxNodes),
					Fix:  "use fewer nested aliases",
				}
			}
		}
		delete(open, n)
		sizes[n] = total
		return total, nil
	}
	total := 0
	for _, doc := range s.docs {
		n, err := size(doc)
		if err != nil {
			return err
		}
		if total += n; total > maxNodes {
			return &Error{File: s.path, What: fmt.Sprintf("the file has more than %d values", maxNodes), Fix: "split it with include"}
		}
	}
	return nil
}

// checkKeys refuses a key that is written twice.
func (s *source) checkKeys(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return &Error{File: s.path, Line: key.Line, What: "a key is a list or mapping", Fix: "use a text as key"}
		}
		if first, twice := lines[key.Value]; twice {
			return &Error{
				File: s.path, Line: key.Line,
				What: fmt.Sprintf("the key `%s` is already written on line %d", key.Value, first),
				Fix:  "remove one of them",
			}
		}
		lines[key.Value] = key.Line
	}
	return nil
}

// root is the top mapping of a document, or nil.
func root(doc *yaml.Node) *yaml.Node {
	n := doc
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	return n
}

// child returns the key and value nodes of a mapping's key, or nil.
func child(n *yaml.Node, key string) (*yaml.Node, *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], deref(n.Content[i+1])
		}
	}
	return nil, nil
}

func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// modernise rewrites what the loader refuses of the old formats, keeping the rest of
// the text as it is: an unquoted `version: 2`, and files of version 1, which have
// services at the top level.
func (s *source) modernise() {
	if len(s.docs) != 1 {
		return
	}
	top := root(s.docs[0])
	if top == nil {
		return
	}
	lines := bytes.Split(s.content, []byte("\n"))
	if _, v := child(top, "version"); v != nil && v.Kind == yaml.ScalarNode && v.Style == 0 && v.Tag != "!!str" {
		at, from := lines[v.Line-1], v.Column-1
		if from+len(v.Value) <= len(at) && string(at[from:from+len(v.Value)]) == v.Value {
			quoted := string(at[:from]) + strconv.Quote(v.Value) + string(at[from+len(v.Value):])
			lines[v.Line-1] = []byte(quoted)
			s.content = bytes.Join(lines, []byte("\n"))
		}
	}
	if isVersion1(top) {
		s.v1 = true
		indented := append([]byte("services:\n  "), bytes.Join(lines, []byte("\n  "))...)
		s.content = indented
	}
}

// topLevelKeys are those that make a file of a later version than 1.
var topLevelKeys = map[string]bool{
	"version": true, "name": true, "services": true, "include": true, "networks": true, "volumes": true,
	"configs": true, "secrets": true, "models": true, "jobs": true,
}

// isVersion1 tells whether every key looks like a service and none is of a later format.
func isVersion1(top *yaml.Node) bool {
	if top.Style&yaml.FlowStyle != 0 || len(top.Content) == 0 {
		return false
	}
	services := 0
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i].Value, deref(top.Content[i+1])
		if topLevelKeys[key] || strings.HasPrefix(key, "x-") || value.Kind != yaml.MappingNode {
			return false
		}
		_, image := child(value, "image")
		_, build := child(value, "build")
		_, extends := child(value, "extends")
		if image == nil && build == nil && extends == nil {
			return false
		}
		services++
	}
	return services > 0
}
