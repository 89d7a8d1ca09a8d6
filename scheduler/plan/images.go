package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// images plans pulls and builds, one per image however many services use it.
func (d *differ) images() error {
	for _, name := range d.order {
		if !d.active[name] || d.p.Services[name].Provider != nil {
			continue
		}
		if err := d.image(name); err != nil {
			return err
		}
		for _, ref := range d.extraImages(name) {
			if _, present := d.s.Images[ref]; !present && d.imageOps[ref] == "" {
				d.planPull(ref, "missing")
			}
		}
	}
	return nil
}

// extraImages are those of a service's image volumes and pre_start hooks.
func (d *differ) extraImages(name string) []string {
	s := d.p.Services[name]
	var refs []string
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeImage && v.Source != "" {
			refs = append(refs, v.Source)
		}
	}
	for _, hook := range s.PreStart {
		if hook.Image != "" && d.builder(hook.Image) == "" {
			refs = append(refs, hook.Image)
		}
	}
	return refs
}

// builder is the first service that can build an image, or none.
func (d *differ) builder(ref string) string {
	for _, name := range d.order {
		if d.p.Services[name].Build != nil && d.p.ImageName(name) == ref {
			return name
		}
	}
	return ""
}

// image plans how the image of one service comes to be there. An image that can be
// built is built rather than pulled, unless pull_policy says otherwise (compose
// specification, "Using build and image").
func (d *differ) image(name string) error {
	ref := d.p.ImageName(name)
	if d.imageOps[ref] != "" {
		return nil
	}
	_, present := d.s.Images[ref]
	builder := d.builder(ref)
	policy := d.pullPolicy(name)
	switch {
	case d.o.ImagesFresh && present:
		return nil
	case builder != "" && !d.o.NoBuild && (d.o.Build || policy == types.PullPolicyBuild):
		d.planBuild(builder, ref, "build was asked for")
	case policy == types.PullPolicyAlways && d.p.Services[name].Image != "":
		d.planPull(ref, "pull policy always")
	case policy == types.PullPolicyRefresh && present && d.p.Services[name].Image != "" && d.stale(name, ref):
		d.planPull(ref, "pull policy "+d.p.Services[name].PullPolicy)
	case present:
	case builder != "" && !d.o.NoBuild:
		d.planBuild(builder, ref, "missing")
	case policy == types.PullPolicyNever:
		return fmt.Errorf("service %q: %w: %s, and its pull policy is never", name, ErrNoImage, ref)
	case builder != "" && d.p.Services[name].Image == "":
		return fmt.Errorf("service %q: %w: %s, and --no-build was given", name, ErrNoImage, ref)
	default:
		d.planPull(ref, "missing")
	}
	return nil
}

// stale tells whether an image was pulled longer ago than the service's policy allows.
func (d *differ) stale(name, ref string) bool {
	s := d.p.Services[name]
	_, age, err := s.GetPullPolicy()
	pulled, known := d.s.Pulled[ref]
	return err != nil || !known || d.o.Now.Sub(pulled) >= age
}

func (d *differ) pullPolicy(name string) string {
	policy := d.o.Pull
	if policy == "" || policy == "policy" {
		policy = d.p.Services[name].PullPolicy
	}
	switch {
	case policy == "daily" || policy == "weekly" || strings.HasPrefix(policy, "every_"):
		return types.PullPolicyRefresh
	case policy == types.PullPolicyIfNotPresent:
		return types.PullPolicyMissing
	}
	return policy
}

func (d *differ) planPull(ref, cause string) {
	d.imageOps[ref] = d.build.add(Op{Kind: PullImage, Resource: ref, Cause: cause})
}

// planBuild also builds first the images that additional_contexts name.
func (d *differ) planBuild(name, ref, cause string) {
	op := Op{Kind: BuildImage, Service: name, Resource: ref, Cause: cause}
	d.imageOps[ref] = d.build.add(op)
	var contexts []string
	for _, value := range d.p.Services[name].Build.AdditionalContexts {
		if target, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
			contexts = append(contexts, target)
		}
	}
	slices.Sort(contexts)
	for _, target := range contexts {
		base, ok := d.p.Services[target]
		if !ok || base.Build == nil {
			continue
		}
		baseRef := d.p.ImageName(target)
		if _, present := d.s.Images[baseRef]; d.imageOps[baseRef] == "" && (!present || d.o.Build) {
			d.planBuild(target, baseRef, "build context of "+name)
		}
		// Two services that name each other would never be built.
		if before := d.imageOps[baseRef]; before != "" && !d.reaches(before, d.imageOps[ref]) {
			d.build.after(d.imageOps[ref], before)
		}
	}
}

// reaches tells whether an operation waits for another one, directly or not.
func (d *differ) reaches(from, to string) bool {
	seen := map[string]bool{}
	queue := []string{from}
	for len(queue) > 0 {
		id := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if id == to {
			return true
		}
		if !seen[id] {
			seen[id] = true
			queue = append(queue, d.build.ops[d.build.index[id]].After...)
		}
	}
	return false
}

// refreshesUsedImages tells whether an image that existing containers run may change:
// whether they are recreated can only be decided afterwards.
func (d *differ) refreshesUsedImages() bool {
	if d.o.ImagesFresh {
		return false
	}
	for name := range d.active {
		if d.imageOps[d.p.ImageName(name)] != "" && len(d.containers[name]) > 0 {
			return true
		}
	}
	return false
}
