package container

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// SpecOptions are what the engine adds to a Config for one run.
type SpecOptions struct {
	Root   string                 // where init mounts the root file system
	NetNS  string                 // path of the network namespace; "" is the host's
	Join   []specs.LinuxNamespace // namespaces of other containers
	Mounts []specs.Mount          // volumes, binds, tmpfs, configs and secrets, parents first
	Etc    string                 // the host's folder with hosts, hostname and resolv.conf
}

// Spec is the OCI runtime spec of the container: docker's default, changed where the configuration says so.
func (c *Config) Spec(o SpecOptions) (*specs.Spec, error) {
	s := runtime.DefaultSpec()
	s.Root = &specs.Root{Path: o.Root, Readonly: c.Security.ReadOnly}
	s.Hostname, s.Domainname = c.Hostname, c.Domainname
	s.Annotations = c.Annotations
	if err := c.confine(s); err != nil {
		return nil, err
	}
	s.Process = c.process(s.Process, c.Args())
	s.Process.Terminal = c.TTY
	s.Process.Rlimits = c.Rlimits
	s.Process.OOMScoreAdj = &c.OOMScore // also when 0: the engine's own is not for containers
	if err := c.limit(s); err != nil {
		return nil, err
	}
	if err := c.namespaces(s, o); err != nil {
		return nil, err
	}
	c.mounts(s, o)
	for k, v := range c.Sysctls {
		if strings.ContainsAny(k+v, "\n\x00") {
			return nil, fmt.Errorf("sysctls: %q has a control character", k)
		}
		if s.Linux.Sysctl == nil {
			s.Linux.Sysctl = map[string]string{}
		}
		s.Linux.Sysctl[k] = v
	}
	return s, nil
}

// Process is a further process (exec, health check, hook) with the container's own environment, user and rights, or all
// rights when privileged.
func (c *Config) Process(args []string, privileged bool) *specs.Process {
	s := runtime.DefaultSpec()
	if privileged || c.Security.Privileged {
		_ = runtime.SetCapabilities(s, []string{"ALL"}, nil)
	} else {
		_ = runtime.SetCapabilities(s, c.Security.CapAdd, c.Security.CapDrop) // checked when the container was started
	}
	p := c.process(s.Process, args)
	p.Rlimits = c.Rlimits
	return p
}

func (c *Config) process(p *specs.Process, args []string) *specs.Process {
	p.Args = args
	p.Cwd = c.WorkingDir
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	p.User.Username = c.User
	if p.User.Username == "" {
		p.User.Username = "0"
	}
	p.Env = slices.Clone(c.Env)
	if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOSTNAME=") }) {
		p.Env = append(p.Env, "HOSTNAME="+c.Hostname)
	}
	if c.TTY && !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		p.Env = append(p.Env, "TERM=xterm")
	}
	p.NoNewPrivileges = c.Security.NoNewPrivileges
	return p
}

// limit sets the cgroup limits beside the device rules of the default.
func (c *Config) limit(s *specs.Spec) (err error) {
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	r := s.Linux.Resources
	r.Memory, r.CPU, r.Pids = c.Resources.Memory, c.Resources.CPU, c.Resources.Pids
	r.BlockIO, err = c.BlockIO.spec()
	s.Linux.CgroupsPath = c.cgroupsPath()
	return err
}

// namespaces sets the network namespace and leaves out those that are shared with the host.
func (c *Config) namespaces(s *specs.Spec, o SpecOptions) error {
	runtime.ShareNamespace(s, specs.NetworkNamespace, o.NetNS)
	for _, n := range o.Join {
		runtime.ShareNamespace(s, n.Type, n.Path)
	}
	for _, m := range []struct {
		key, mode string
		kind      specs.LinuxNamespaceType
	}{{"pid", c.Pid, specs.PIDNamespace}, {"ipc", c.IPC, specs.IPCNamespace}, {"uts", c.UTS, specs.UTSNamespace}, {"cgroup", c.Cgroup, specs.CgroupNamespace}} {
		switch {
		case m.mode == "host":
			runtime.ShareNamespace(s, m.kind, "")
		case m.mode == "", m.mode == "private", strings.Contains(m.mode, ":"),
			m.kind == specs.IPCNamespace && (m.mode == "shareable" || m.mode == "none"):
		default:
			return fmt.Errorf("%s: %q is not known", m.key, m.mode)
		}
	}
	return nil
}

// mounts adds the files of /etc and what the user wants mounted. A target of the user's replaces the default's.
func (c *Config) mounts(s *specs.Spec, o SpecOptions) {
	if c.ShmSize > 0 {
		for i := range s.Mounts {
			if s.Mounts[i].Destination == "/dev/shm" {
				s.Mounts[i].Options = append(slices.DeleteFunc(slices.Clone(s.Mounts[i].Options), func(o string) bool { return strings.HasPrefix(o, "size=") }),
					"size="+strconv.FormatInt(c.ShmSize, 10))
			}
		}
	}
	if c.IPC == "host" {
		for i := range s.Mounts {
			if d := s.Mounts[i].Destination; d == "/dev/shm" || d == "/dev/mqueue" {
				s.Mounts[i] = specs.Mount{Destination: d, Source: d, Type: "bind", Options: []string{"rbind", "nosuid", "noexec", "nodev"}}
			}
		}
	}
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/" + name, Source: o.Etc + "/" + name, Type: "bind", Options: []string{"rbind", "rprivate"}})
	}
	for _, m := range o.Mounts {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(d specs.Mount) bool { return d.Destination == m.Destination })
	}
	s.Mounts = append(s.Mounts, o.Mounts...)
}
