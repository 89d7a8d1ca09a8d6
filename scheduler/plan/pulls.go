package plan

import (
	"cmp"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/project"
)

// PullChoice is what the verb `pull` does about one image: fetch it or, with a reason, leave it.
type PullChoice struct {
	Service string // the first, by name, that has the image
	Image   string
	Build   bool // it can be built, too
	Skipped bool
	Reason  string // why, in docker compose's words; may be empty
}

// PullOptions are the flags of `pull`.
type PullOptions struct {
	Policy          string // "missing", "always"; "" for each service's own
	IgnoreBuildable bool
}

// Pulls chooses what `pull` fetches for services, as docker compose does (pkg/compose/pull.go): each image once, none whose
// policy is to have it built or never pulled. present tells which images are there.
func Pulls(p *project.Project, services []string, o PullOptions, present func(ref string) bool) []PullChoice {
	services = slices.Sorted(slices.Values(services))
	var all []PullChoice
	seen := map[string]bool{}
	for _, name := range services {
		s := p.Services[name]
		c := PullChoice{Service: name, Image: s.Image, Build: s.Build != nil}
		switch policy := cmp.Or(o.Policy, s.PullPolicy); {
		case s.Image == "":
			c.Image, c.Skipped, c.Reason = p.ImageName(name), true, "No image to be pulled"
		case policy == types.PullPolicyNever || policy == types.PullPolicyBuild:
			c.Skipped = true
		case (policy == types.PullPolicyMissing || policy == types.PullPolicyIfNotPresent) && present(s.Image):
			c.Skipped, c.Reason = true, "Image is already present locally"
		case s.Build != nil && o.IgnoreBuildable:
			c.Skipped, c.Reason = true, "Image can be built"
		case seen[s.Image]:
			continue
		}
		if !c.Skipped {
			seen[c.Image] = true
		}
		all = append(all, c)
	}
	return all
}
