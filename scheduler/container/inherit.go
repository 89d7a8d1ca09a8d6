package container

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"tutti/volumes"
)

// VolumesFrom reads an entry of volumes_from, "SERVICE[:ro|rw]" or "container:NAME[:ro|rw]", and returns the mode that finds
// the container, as those of namespaces are written: "service:SERVICE" or "container:NAME".
func VolumesFrom(entry string) (peer string, readOnly bool, err error) {
	rest, isContainer := strings.CutPrefix(entry, "container:")
	name, access, hasAccess := strings.Cut(rest, ":")
	if hasAccess && access != "ro" && access != "rw" || name == "" {
		return "", false, fmt.Errorf("%q is not of the form SERVICE[:ro] or container:NAME[:ro]", entry)
	}
	kind := "service:"
	if isContainer {
		kind = "container:"
	}
	return kind + name, access == "ro", nil
}

// Bequeath are the volumes and binds of the container as another one takes them over.
func (c *Config) Bequeath(readOnly bool) []Mount {
	var all []Mount
	for _, m := range c.Mounts {
		if m.Type != volumes.TypeVolume && m.Type != volumes.TypeBind {
			continue
		}
		m.ReadOnly = m.ReadOnly || readOnly
		m.Anonymous, m.Inherited, m.NoCopy = false, true, true
		all = append(all, m)
	}
	return all
}

// Without is the image without those of its volumes that are mounted by others anyway.
func (i Image) Without(mounted []Mount) Image {
	i.Volumes = slices.DeleteFunc(slices.Clone(i.Volumes), func(v string) bool { return hasTarget(mounted, path.Join("/", v)) })
	return i
}

// Inherit adds mounts of other containers. The container's own come first.
func (c *Config) Inherit(mounts []Mount) {
	for _, m := range mounts {
		if !hasTarget(c.Mounts, m.Target) {
			c.Mounts = append(c.Mounts, m)
		}
	}
}

func hasTarget(mounts []Mount, target string) bool {
	return slices.ContainsFunc(mounts, func(m Mount) bool { return m.Target == target })
}
