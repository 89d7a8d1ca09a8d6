package project

import (
	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// usedCasts leaves out the conversions of texts to numbers and booleans for keys that no
// file has. The loader tries every one of them for every value, which was a third of
// the time of loading.
func (all *sources) usedCasts(casts map[tree.Path]interpolation.Cast) map[tree.Path]interpolation.Cast {
	if all.unread {
		return casts
	}
	keys := map[string]bool{}
	seen := map[*yaml.Node]bool{}
	for _, list := range [][]*source{all.files, all.others} {
		for _, s := range list {
			for _, doc := range s.docs {
				addKeys(keys, seen, doc)
			}
		}
	}
	used := make(map[tree.Path]interpolation.Cast)
	for path, cast := range casts {
		if keys[lastKey(path)] {
			used[path] = cast
		}
	}
	return used
}

// lastKey is the last part of a pattern that is a key, not * or [].
func lastKey(path tree.Path) string {
	parts := path.Parts()
	last := len(parts) - 1
	for last > 0 && (parts[last] == tree.PathMatchAll || parts[last] == tree.PathMatchList) {
		last--
	}
	return parts[last]
}

// castKeys are the keys whose texts, or texts below them, may be converted.
func castKeys() map[string]bool {
	keys := map[string]bool{}
	options := loader.ToOptions(&types.ConfigDetails{}, nil)
	for path := range options.Interpolate.TypeCastMapping {
		keys[lastKey(path)] = true
	}
	return keys
}

func addKeys(keys map[string]bool, seen map[*yaml.Node]bool, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode || seen[n] {
		return
	}
	seen[n] = true
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			keys[n.Content[i].Value] = true
		}
	}
	for _, child := range n.Content {
		addKeys(keys, seen, child)
	}
}
