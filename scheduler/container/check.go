package container

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/volumes"
)

// Check finds what would only fail when the container starts: devices that are not there, options of a tmpfs that do not
// exist, a setting of the host's kernel. It changes nothing. Errors of one attribute are of type *Fault.
func (c *Config) Check() error {
	for _, m := range c.Mounts {
		if m.Type != volumes.TypeTmpfs {
			continue
		}
		if err := volumes.CheckTmpfs(m.Mount); err != nil {
			return At(err, mountKey(m))
		}
	}
	// Namespaces of others are joined, whichever they will be.
	o := SpecOptions{Root: "/", NetNS: "container"}
	if c.NetworkMode == "host" {
		o.NetNS = ""
	}
	for kind, mode := range map[specs.LinuxNamespaceType]string{specs.PIDNamespace: c.Pid, specs.IPCNamespace: c.IPC} {
		if peerMode(mode) {
			o.Join = append(o.Join, specs.LinuxNamespace{Type: kind, Path: mode})
		}
	}
	_, err := c.Spec(o)
	return err
}

// mountKey is the attribute that a tmpfs comes from, as far as it shows: the long form has no options as text.
func mountKey(m Mount) string {
	if m.Size > 0 || m.Mode > 0 {
		return "volumes"
	}
	return "tmpfs"
}
