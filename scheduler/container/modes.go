package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// peerMode tells whether a mode is that of another container: "service:NAME", "container:NAME".
func peerMode(mode string) bool {
	kind, name, _ := strings.Cut(mode, ":")
	return (kind == "service" || kind == "container") && name != ""
}

// checkModes refuses modes of namespaces that docker refuses, and combinations of them with other attributes that could
// have no effect (moby, daemon/internal/runconfig/hostconfig.go).
func (c *Config) checkModes(s types.ServiceConfig) error {
	one := func(mode string, known ...string) bool { return slices.Contains(known, mode) }
	switch {
	case !one(c.Pid, "", "host") && !peerMode(c.Pid):
		return At(fmt.Errorf("invalid PID mode: %q: use host, service:NAME or container:NAME", c.Pid), "pid")
	case !one(c.IPC, "", "host", "none", "private", "shareable") && !peerMode(c.IPC):
		return At(fmt.Errorf("invalid IPC mode: %q: use none, private, shareable, host, service:NAME or container:NAME", c.IPC), "ipc")
	case !one(c.UTS, "", "host"):
		return At(fmt.Errorf("invalid UTS mode: %q: use host", c.UTS), "uts")
	case !one(c.Cgroup, "", "host", "private"):
		return At(fmt.Errorf("invalid cgroup namespace mode: %q: use host or private", c.Cgroup), "cgroup")
	case !one(s.UserNSMode, "", "host"):
		return At(fmt.Errorf("invalid user namespace mode: %q: use host, there are no other user namespaces", s.UserNSMode), "userns_mode")
	case !one(s.Isolation, "", "default"):
		return At(fmt.Errorf("invalid isolation %q: Linux only supports \"default\"", s.Isolation), "isolation")
	case !one(s.Runtime, "", "runc", "io.containerd.runc.v2", "crun"):
		return At(fmt.Errorf("unknown or invalid runtime name: %s: containers run on the built-in runtime, remove the attribute", s.Runtime), "runtime")
	case c.Umask != nil && *c.Umask > 0o777:
		return At(fmt.Errorf("%#o is no mask of permission bits: use 0 to 0777, in quotes", *c.Umask), "umask")
	case c.UTS == "host" && c.Hostname != "":
		return At(errors.New("conflicting options: hostname and the UTS mode"), "hostname")
	case c.NetworkMode == "host" && len(s.Links)+len(s.ExternalLinks) > 0:
		return At(errors.New("conflicting options: host type networking can't be used with links. This would result in undefined behavior"), "links")
	case peerMode(c.NetworkMode):
		return c.checkPeerNetwork(s)
	}
	return nil
}

// checkPeerNetwork refuses attributes of a network that is another container's.
func (c *Config) checkPeerNetwork(s types.ServiceConfig) error {
	for _, conflict := range []struct {
		set       bool
		key, what string
	}{
		{c.Hostname != "", "hostname", "hostname and the network mode"},
		{len(s.Links) > 0, "links", "container type network can't be used with links. This would result in undefined behavior"},
		{len(s.ExternalLinks) > 0, "external_links", "container type network can't be used with links. This would result in undefined behavior"},
		{len(c.DNS) > 0, "dns", "dns and the network mode"},
		{len(c.ExtraHosts) > 0, "extra_hosts", "custom host-to-IP mapping and the network mode"},
		{len(s.Ports) > 0, "ports", "port publishing and the container type network mode"},
		{len(s.Expose) > 0, "expose", "port exposing and the container type network mode"},
	} {
		if conflict.set {
			return At(errors.New("conflicting options: "+conflict.what), conflict.key)
		}
	}
	return nil
}

// namespaces sets the network namespace and leaves out those that are shared with the host.
func (c *Config) namespaces(s *specs.Spec, o SpecOptions) {
	runtime.ShareNamespace(s, specs.NetworkNamespace, o.NetNS)
	for _, n := range o.Join {
		runtime.ShareNamespace(s, n.Type, n.Path)
	}
	for _, m := range []struct {
		mode string
		kind specs.LinuxNamespaceType
	}{{c.Pid, specs.PIDNamespace}, {c.IPC, specs.IPCNamespace}, {c.UTS, specs.UTSNamespace}, {c.Cgroup, specs.CgroupNamespace}} {
		if m.mode == "host" {
			runtime.ShareNamespace(s, m.kind, "")
		}
	}
}

// checkStorage refuses a limit of the container's layer, which only project quotas of the file system below could keep.
func checkStorage(s types.ServiceConfig) error {
	for key := range s.StorageOpt {
		return At(fmt.Errorf("%s: the size of a container's own layer cannot be limited: put what grows into a volume", key), "storage_opt", key)
	}
	return nil
}
