package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
)

// networks plans the networks that the active services use.
func (d *differ) networks() error {
	for _, key := range d.usedNetworks() {
		n := d.p.Networks[key]
		found, exists := d.networkByName[n.Name]
		switch {
		case exists && found.ConfigOnly:
			return d.at(fmt.Errorf("network %q: %s is only a configuration, which connects nobody: make a network from it, `tutti network create --config-from %[2]s NAME`, and name that one", key, n.Name), "networks", key)
		case bool(n.External) && !exists:
			if builtinNetwork(n.Name) {
				continue
			}
			return d.at(fmt.Errorf("network %q: %w: %s; create it, or remove `external` (%s)", key, ErrNoExternal, n.Name, d.p.NetworkUsers(key)), "networks", key)
		case bool(n.External):
		case !exists:
			d.networkOps[key] = d.build.add(Op{Kind: CreateNetwork, Resource: n.Name, Key: key, Cause: "missing"})
		case found.Project != d.p.Name:
			d.build.note(fmt.Sprintf("network %s was not made for this project and is used as it is; say `external: true` if that is meant", n.Name))
		case found.Hash != "" && found.Hash != d.p.NetworkHash(key):
			d.renewNetwork(key, found)
		}
	}
	for _, id := range d.renewals.made {
		d.build.after(id, d.renewals.removed...)
	}
	return nil
}

// at says in which file and line what an error is about is written, where that is known.
func (d *differ) at(err error, path ...string) error {
	file, line := d.p.Position(path...)
	if line == 0 {
		return err
	}
	return fmt.Errorf("%s:%d: %w", file, line, err)
}

// builtinNetwork tells whether a name is one that every engine has.
func builtinNetwork(name string) bool { return name == "host" || name == "none" || name == "bridge" }

func (d *differ) usedNetworks() []string {
	used := map[string]bool{}
	for name := range d.active {
		for key := range d.p.Services[name].Networks {
			used[key] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// renewNetwork replaces a network whose definition changed. All containers on it are
// replaced too, which the service step sees by renewed; with a container on it that the
// project does not know, it has to stay.
func (d *differ) renewNetwork(key string, found Network) {
	for _, c := range d.s.Containers {
		if !slices.Contains(c.Networks, found.Name) {
			continue
		}
		_, known := d.p.Services[c.Service]
		if !known && d.o.RemoveOrphans && !c.OneOff {
			continue
		}
		if !known || c.OneOff {
			d.build.note(fmt.Sprintf("network %s differs from the file but stays: container %s, which this plan does not touch, uses it", found.Name, c.Name))
			return
		}
	}
	if len(found.Others) > 0 {
		d.build.note(fmt.Sprintf("network %s differs from the file but stays: container %s, which is not of this project, uses it", found.Name, found.Others[0]))
		return
	}
	d.renewed[found.Name] = true
	remove := d.build.add(Op{Kind: RemoveNetwork, Resource: found.Name, Key: key, ResourceID: found.ID, Cause: "config changed"})
	d.networkOps[key] = d.build.add(Op{Kind: CreateNetwork, Resource: found.Name, Key: key, Cause: "config changed"}, remove)
	d.renewals.removed = append(d.renewals.removed, remove)
	d.renewals.made = append(d.renewals.made, d.networkOps[key])
}

// volumes plans the named volumes that the active services use. A volume is never made
// anew: it holds data.
func (d *differ) volumes() error {
	for _, key := range d.usedVolumes() {
		v := d.p.Volumes[key]
		found, exists := d.volumeByName[v.Name]
		switch {
		case bool(v.External) && !exists:
			return fmt.Errorf("volume %q: %w: %s; create it, or remove `external`", key, ErrNoExternal, v.Name)
		case bool(v.External):
		case !exists:
			d.volumeOps[key] = d.build.add(Op{Kind: CreateVolume, Resource: v.Name, Key: key, Cause: "missing"})
		case found.Project != d.p.Name:
			d.build.note(fmt.Sprintf("volume %s was not made for this project and is used as it is; say `external: true` if that is meant", v.Name))
		case found.Hash != "" && found.Hash != d.p.VolumeHash(key):
			d.build.note(fmt.Sprintf("volume %s differs from the file but stays, for it holds data; remove it to have it made anew", v.Name))
		}
	}
	return nil
}

func (d *differ) usedVolumes() []string {
	used := map[string]bool{}
	for name := range d.active {
		for _, v := range d.p.Services[name].Volumes {
			if v.Type == types.VolumeTypeVolume && v.Source != "" {
				used[v.Source] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// resources are the operations that have to be over before a container of the service
// can be created.
func (d *differ) resources(name string) []string {
	s := d.p.Services[name]
	ids := []string{d.imageOps[d.p.ImageName(name)]}
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		if ids = append(ids, d.networkOps[key]); d.renewed[d.p.Networks[key].Name] {
			ids = append(ids, d.renewals.made...)
		}
	}
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeVolume && v.Source != "" {
			ids = append(ids, d.volumeOps[v.Source])
		}
	}
	for _, ref := range d.extraImages(name) {
		ids = append(ids, d.imageOps[ref])
	}
	return ids
}
