package imagebuild

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/project"
)

// Order finds out which services have to be built for those that are named, these included, and for each which others
// its build needs: those that are its additional contexts. Services without a build section are left out.
func Order(p *project.Project, names []string) (map[string][]string, error) {
	order := map[string][]string{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		s, ok := p.Services[name]
		if !ok || s.Build == nil {
			return nil
		}
		if i := slices.Index(path, name); i >= 0 {
			return fmt.Errorf("service %q: the additional contexts of builds go in a cycle: %s — remove one of them", name, strings.Join(append(path[i:], name), " -> "))
		}
		if _, seen := order[name]; seen {
			return nil
		}
		needs := []string{}
		for _, key := range slices.Sorted(maps.Keys(s.Build.AdditionalContexts)) {
			other, ok := strings.CutPrefix(s.Build.AdditionalContexts[key], types.ServicePrefix)
			if !ok {
				continue
			}
			needs = append(needs, other)
			if err := visit(other, append(path, name)); err != nil {
				return err
			}
		}
		order[name] = needs
		return nil
	}
	for _, name := range names {
		if err := visit(name, nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}
