package project

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// position is a line of a file.
type position struct {
	file  string
	line  int
	depth int // of keys: 1 is the top level
}

// positions maps paths of keys, "services.web.ports.0", to where they are written.
// Of several files the last one wins, as in the merged model.
type positions map[string]position

const maxPositions = 200_000

func (all *sources) positions() positions {
	p := positions{}
	for _, v := range slices.Backward(all.others) {
		p.add(v)
	}
	for _, s := range all.files {
		p.add(s)
	}
	return p
}

func (p positions) add(s *source) {
	prefix, depth := "", 1
	if s.v1 {
		prefix, depth = "services", 2
	}
	for _, doc := range s.docs {
		if top := root(doc); top != nil {
			p.walk(s.path, prefix, top, depth)
		}
	}
}

// walk records every key below n. Aliases are followed; the total is bounded because
// a file may use them to be large.
func (p positions) walk(file, path string, n *yaml.Node, depth int) {
	if depth > 100 || len(p) > maxPositions {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Value == "<<" {
				p.walk(file, path, deref(value), depth)
				continue
			}
			p.record(file, join(path, key.Value), key.Line, depth)
			p.walk(file, join(path, key.Value), deref(value), depth+1)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			p.record(file, join(path, strconv.Itoa(i)), item.Line, depth)
			if item := deref(item); item.Kind == yaml.ScalarNode {
				// A list entry is also found by its text: depends_on: [db]
				name, _, _ := strings.Cut(item.Value, "=")
				p.record(file, join(path, name), item.Line, depth)
			} else {
				p.walk(file, join(path, strconv.Itoa(i)), item, depth+1)
			}
		}
	case yaml.ScalarNode:
		// extends: base
		p.record(file, join(path, n.Value), n.Line, depth)
	case yaml.AliasNode, yaml.DocumentNode, yaml.StreamNode:
	}
}

func (p positions) record(file, path string, line, depth int) {
	p[path] = position{file: file, line: line, depth: depth}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// find returns the position of a path or of the nearest key above it.
func (p positions) find(path ...string) position {
	for n := len(path); n > 0; n-- {
		if at, ok := p[strings.Join(path[:n], ".")]; ok {
			return at
		}
	}
	return position{}
}

// Position is where a key of the merged model is written, or the nearest key above
// it: Position("services", "web", "ports"). The line is 0 when it is not known.
func (p *Project) Position(path ...string) (file string, line int) {
	at := p.positions.find(path...)
	return at.file, at.line
}

// shallow lists the positions of elements and their attributes, and of everything about networks, sorted: what errors of
// the engine can be about.
func (p positions) shallow() []wirePosition {
	var out []wirePosition
	for path, at := range p {
		network := strings.HasPrefix(path, "networks.") || at.depth <= 5 && strings.HasPrefix(path, "services.") && strings.Contains(path, ".networks.")
		if (at.depth <= 3 || network) && len(path) < 200 {
			out = append(out, wirePosition{Path: path, File: at.file, Line: at.line, Depth: at.depth})
		}
	}
	slices.SortFunc(out, func(a, b wirePosition) int { return strings.Compare(a.Path, b.Path) })
	return out
}
