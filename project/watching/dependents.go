package watching

import (
	"maps"
	"slices"

	"tutti/project"
)

// Dependents are the services that say they want to be restarted when one of those named is replaced (depends_on with restart),
// and those that want it for one of these; sorted.
func Dependents(p *project.Project, services []string) []string {
	affected := map[string]bool{}
	for _, name := range services {
		affected[name] = true
	}
	for grew := true; grew; {
		grew = false
		for name, s := range p.Services {
			for dependency, how := range s.DependsOn {
				if how.Restart && affected[dependency] && !affected[name] {
					affected[name], grew = true, true
				}
			}
		}
	}
	for _, name := range services {
		delete(affected, name)
	}
	return slices.Sorted(maps.Keys(affected))
}
