package container

import (
	"maps"
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
	// Hostname and Domainname are those of the container whose network is shared; "" and "": the configuration's own.
	Hostname, Domainname string
	// Shm is the /dev/shm of the container whose ipc namespace is shared, a path of the host's; "": none is shared.
	Shm string
}

// Spec is the OCI runtime spec of the container: docker's default, changed where the configuration says so.
func (c *Config) Spec(o SpecOptions) (*specs.Spec, error) {
	s := runtime.DefaultSpec()
	s.Root = &specs.Root{Path: o.Root, Readonly: c.Security.ReadOnly}
	own := *c
	if o.Hostname != "" {
		own.Hostname, own.Domainname = o.Hostname, o.Domainname
	}
	s.Hostname, s.Domainname = own.Hostname, own.Domainname
	s.Annotations = c.Annotations
	if err := c.confine(s); err != nil {
		return nil, err
	}
	s.Process = own.process(s.Process, c.Args())
	s.Process.Terminal = c.TTY
	s.Process.Rlimits = c.Rlimits
	s.Process.OOMScoreAdj = &c.OOMScore // also when 0: the engine's own is not for containers
	if err := c.limit(s); err != nil {
		return nil, err
	}
	c.namespaces(s, o)
	c.mounts(s, o)
	if err := checkSysctls(s, c.Sysctls); err != nil {
		return nil, err
	}
	if s.Linux.Sysctl == nil {
		s.Linux.Sysctl = map[string]string{}
	}
	maps.Copy(s.Linux.Sysctl, c.Sysctls)
	return s, c.inject(s)
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
	p.User.Umask = c.Umask
	return p
}

// limit sets the cgroup limits beside the device rules of the default.
func (c *Config) limit(s *specs.Spec) error {
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	own, err := c.CgroupLimits()
	if err != nil {
		return err
	}
	r := s.Linux.Resources
	r.Memory, r.CPU, r.Pids, r.BlockIO = own.Memory, own.CPU, own.Pids, own.BlockIO
	s.Linux.CgroupsPath = c.cgroupsPath()
	return nil
}

// CgroupLimits are the limits with the present numbers of the devices.
func (c *Config) CgroupLimits() (*specs.LinuxResources, error) {
	io, err := c.BlockIO.spec()
	if err != nil {
		return nil, err
	}
	return &specs.LinuxResources{Memory: c.Resources.Memory, CPU: c.Resources.CPU, Pids: c.Resources.Pids, BlockIO: io}, nil
}

// mounts adds the files of /etc and what the user wants mounted. A target of the user's replaces the default's, and a /dev of
// the user's everything below it, too, as docker does.
func (c *Config) mounts(s *specs.Spec, o SpecOptions) {
	c.sharedMemory(s, o.Shm)
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/" + name, Source: o.Etc + "/" + name, Type: "bind", Options: c.etcOptions()})
	}
	for _, m := range o.Mounts {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(d specs.Mount) bool {
			return d.Destination == m.Destination || m.Destination == "/dev" && strings.HasPrefix(d.Destination, "/dev/")
		})
	}
	s.Mounts = append(s.Mounts, o.Mounts...)
}

// sharedMemory makes /dev/shm what the ipc mode and shm_size say: of the size wanted, the host's, that of the container
// whose namespace is shared, or not there.
func (c *Config) sharedMemory(s *specs.Spec, shared string) {
	if c.IPC == "none" {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == shmPath })
	}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		switch { // /dev/mqueue shows whichever namespace it is mounted in
		case m.Destination != shmPath:
		case c.IPC == "host":
			*m = specs.Mount{Destination: shmPath, Source: shmPath, Type: "bind", Options: []string{"rbind", "nosuid", "noexec", "nodev"}}
		case shared != "":
			*m = specs.Mount{Destination: shmPath, Source: shared, Type: "bind", Options: []string{"bind", "nosuid", "noexec", "nodev"}}
		case c.ShmSize > 0:
			m.Options = append(slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return strings.HasPrefix(o, "size=") }),
				"size="+strconv.FormatInt(c.ShmSize, 10))
		}
	}
}

const shmPath = "/dev/shm"
