package container

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/netdriver"
	"tutti/project"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
	"tutti/volumes"
)

// Image is what a container takes over from its image where the service says nothing.
type Image struct {
	ID           string // sha256:...
	Entrypoint   []string
	Cmd          []string
	Env          []string
	WorkingDir   string
	User         string
	StopSignal   string
	Labels       map[string]string
	Volumes      []string // paths, sorted
	ExposedPorts []string // "80/tcp"
	Health       *supervise.HealthCheck
	Shell        []string // of SHELL, for a health check that is a line of it; empty: /bin/sh -c
}

const defaultGrace = 10 * time.Second

// FromService is the configuration of one container of a service. The id, the names and the labels that tell whose it is
// are the caller's; everything else is here. An error names what is wrong with the service, not the service.
func FromService(p *project.Project, s types.ServiceConfig, img Image) (Config, error) {
	c := Config{
		Service: s.Name, Project: p.Name, ImageID: img.ID,
		WorkingDir: firstOf(s.WorkingDir, img.WorkingDir), User: firstOf(s.User, img.User), Groups: s.GroupAdd,
		TTY: s.Tty, StdinOpen: s.StdinOpen, Init: s.Init != nil && *s.Init,
		Hostname: s.Hostname, Domainname: s.DomainName,
		StopSignal: firstOf(s.StopSignal, img.StopSignal), StopGrace: defaultGrace,
		Annotations: s.Annotations, Sysctls: s.Sysctls, OOMScore: int(s.OomScoreAdj),
		Pid: s.Pid, IPC: s.Ipc, UTS: s.Uts, Cgroup: s.Cgroup, ShmSize: int64(s.ShmSize),
		Umask: s.Umask, APISocket: s.UseAPISocket,
		DNS: s.DNS, DNSSearch: s.DNSSearch, DNSOptions: s.DNSOpts, ExtraHosts: s.ExtraHosts.AsList("="),
	}
	if s.StopGracePeriod != nil {
		c.StopGrace = time.Duration(*s.StopGracePeriod)
	}
	c.Entrypoint, c.Command = arguments(s, img)
	if len(c.Entrypoint)+len(c.Command) == 0 {
		return c, fmt.Errorf("no command: neither the service nor its image says what to run; set `command`")
	}
	c.Env = environment(s, img)
	c.Labels = labels(s, img)
	c.Restart = restartPolicy(s)
	c.Health = healthCheck(s, img, p.HealthExtensions(s.Name))
	c.PostStart, c.PreStop = hooks(s.PostStart), hooks(s.PreStop)
	return c, firstError(
		func() (err error) { c.Log, err = logging(s); return },
		func() (err error) { c.Security, err = security(p, s); return },
		func() (err error) { c.Rlimits, err = rlimits(s); return },
		func() (err error) { c.Devices, c.DeviceRequests, err = devices(s); return },
		func() (err error) { c.Limits, err = ServiceLimits(s); return },
		func() (err error) { c.CgroupParent, err = cgroupParent(s); return },
		func() (err error) { c.Ports, c.Exposed, err = ports(p, s, img); return },
		func() error { return c.network(p, s) },
		func() error { return c.checkModes(s) },
		func() error { return checkStorage(s) },
		func() (err error) { c.Mounts, err = mounts(p, s, img); return },
		func() (err error) { c.Files, err = files(p, s); return },
	)
}

// arguments follows docker: a new entrypoint drops the image's command, too.
func arguments(s types.ServiceConfig, img Image) (entrypoint, command []string) {
	entrypoint, command = img.Entrypoint, img.Cmd
	if s.Entrypoint != nil {
		entrypoint, command = s.Entrypoint, nil
	}
	if s.Command != nil {
		command = s.Command
	}
	return entrypoint, command
}

// environment is the image's, overridden by the service's; a variable that the user's environment lacks is left out.
func environment(s types.ServiceConfig, img Image) []string {
	env := slices.Clone(img.Env)
	names := make([]string, 0, len(s.Environment))
	for k := range s.Environment {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		v := s.Environment[k]
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, k+"=") })
		if v != nil {
			env = append(env, k+"="+*v)
		}
	}
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		env = append([]string{defaultPath}, env...)
	}
	return env
}

func labels(s types.ServiceConfig, img Image) map[string]string {
	l := map[string]string{}
	for _, m := range []map[string]string{img.Labels, s.Labels, s.CustomLabels} {
		maps.Copy(l, m)
	}
	return l
}

// restartPolicy reads deploy.restart_policy, whose condition "any" is docker's "always", or else `restart`: the order is
// docker compose's.
func restartPolicy(s types.ServiceConfig) supervise.RestartPolicy {
	if s.Deploy == nil || s.Deploy.RestartPolicy == nil {
		if s.Restart == "" {
			return supervise.RestartPolicy{Name: "no"}
		}
		name, retries, _ := strings.Cut(s.Restart, ":")
		p := supervise.RestartPolicy{Name: name}
		_, _ = fmt.Sscan(retries, &p.MaxRetries) // project has checked it
		return p
	}
	d := s.Deploy.RestartPolicy
	p := supervise.RestartPolicy{Name: d.Condition}
	switch d.Condition {
	case "", "any":
		p.Name = "always"
	case "none":
		p.Name = "no"
	}
	if d.MaxAttempts != nil {
		p.MaxRetries = int(*d.MaxAttempts) //nolint:gosec // a number of attempts
	}
	if d.Delay != nil {
		p.Delay = time.Duration(*d.Delay)
	}
	if d.Window != nil {
		p.Window = time.Duration(*d.Window)
	}
	return p
}

// healthCheck is the image's with the service's fields over it; nil when there is none or it is disabled.
func healthCheck(s types.ServiceConfig, img Image, x project.HealthExtensions) *supervise.HealthCheck {
	var h supervise.HealthCheck
	if img.Health != nil {
		h = *img.Health
	}
	if c := s.HealthCheck; c != nil {
		if c.Disable {
			return nil
		}
		if len(c.Test) > 0 {
			h.Test = c.Test
		}
		set := func(to *time.Duration, from *types.Duration) {
			if from != nil {
				*to = time.Duration(*from)
			}
		}
		set(&h.Interval, c.Interval)
		set(&h.Timeout, c.Timeout)
		set(&h.StartPeriod, c.StartPeriod)
		set(&h.StartInterval, c.StartInterval)
		if c.Retries != nil {
			h.Retries = int(*c.Retries) //nolint:gosec // a number of retries
		}
	}
	h.Shell = img.Shell
	h.TCP, h.RestartUnhealthy = x.TCP, x.RestartUnhealthy
	if x.HTTP != nil {
		h.HTTP = &supervise.HTTPProbe{URL: x.HTTP.URL, Method: x.HTTP.Method, Headers: x.HTTP.Headers, Status: x.HTTP.Status, Insecure: x.HTTP.Insecure}
	}
	if h.TCP == 0 && h.HTTP == nil && (len(h.Test) == 0 || h.Test[0] == "NONE") {
		return nil
	}
	return &h
}

// network reads network_mode, networks and links.
func (c *Config) network(p *project.Project, s types.ServiceConfig) error {
	for _, l := range s.Links {
		service, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = service
		}
		c.Links = append(c.Links, Link{Service: service, Alias: alias})
	}
	for _, l := range s.ExternalLinks {
		name, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = name
		}
		c.Links = append(c.Links, Link{Container: name, Alias: alias})
	}
	switch mode := s.NetworkMode; {
	case mode == "bridge", mode == "default" && len(s.Networks) == 0:
		c.Networks = []Attachment{{Network: plan.DefaultBridge, MAC: s.MacAddress}}
		return nil
	case mode == "", mode == "default":
	case mode == "host", mode == "none", strings.HasPrefix(mode, "service:"), strings.HasPrefix(mode, "container:"):
		c.NetworkMode = mode
		return nil
	default:
		return fmt.Errorf("network_mode %q is not known: use host, none, service:NAME or container:NAME", mode)
	}
	for key, n := range s.Networks {
		full := p.Networks[key].Name
		switch full {
		case "host", "none": // docker's predefined networks
			if p.Networks[key].External {
				c.NetworkMode = full
				return nil
			}
		}
		a := Attachment{Network: full, Aliases: []string{s.Name}}
		if n != nil {
			a.Aliases = append(a.Aliases, n.Aliases...)
			a.IPv4, a.IPv6, a.MAC, a.Interface = n.Ipv4Address, n.Ipv6Address, n.MacAddress, n.InterfaceName
			a.Priority, a.GwPriority = n.Priority, n.GatewayPriority
			a.LinkLocal, a.DriverOpts = n.LinkLocalIPs, n.DriverOpts
			a.Interface = firstOf(a.Interface, a.DriverOpts[netdriver.OptionInterface])
		}
		if _, err := a.Endpoint(""); err != nil {
			return At(err, "networks", key)
		}
		c.Networks = append(c.Networks, a)
	}
	sort.Slice(c.Networks, func(i, j int) bool {
		a, b := c.Networks[i], c.Networks[j]
		if a.Priority != b.Priority {
			return a.Priority > b.Priority
		}
		return a.Network < b.Network
	})
	return c.setMAC(s.MacAddress)
}

// setMAC gives the service's own mac_address to its first network, as docker compose does: no two interfaces of a machine
// have the same.
func (c *Config) setMAC(mac string) error {
	if mac == "" || len(c.Networks) == 0 {
		return nil
	}
	first := &c.Networks[0]
	if first.MAC != "" && first.MAC != mac {
		return At(fmt.Errorf("the service has %s and its network %s has %s: the service-level mac_address is that of the first network, so give it the same value or remove it", mac, first.Network, first.MAC), "mac_address")
	}
	first.MAC = mac
	_, err := first.Endpoint("")
	return At(err, "mac_address")
}

// ports are what is published and what is only exposed, by the service and its image.
func ports(model *project.Project, s types.ServiceConfig, img Image) (published, exposed []Port, err error) {
	for _, p := range s.Ports {
		if p.Target == 0 || p.Target > 65535 {
			return nil, nil, fmt.Errorf("ports: container port %d is not between 1 and 65535", p.Target)
		}
		published = append(published, Port{
			Target: uint16(p.Target), Protocol: firstOf(p.Protocol, "tcp"), HostIP: p.HostIP, Published: p.Published, Name: p.Name,
			Input: model.Firewall(s.Name, p) == project.FirewallInput,
		})
	}
	add := func(spec string) error {
		number, proto, _ := strings.Cut(spec, "/")
		first, last, isRange := strings.Cut(number, "-")
		if !isRange {
			last = first
		}
		var from, to uint16
		if _, err := fmt.Sscan(first, &from); err != nil {
			return fmt.Errorf("expose: %q is no port", spec)
		}
		if _, err := fmt.Sscan(last, &to); err != nil || to < from {
			return fmt.Errorf("expose: %q is no port range", spec)
		}
		for n := int(from); n <= int(to); n++ {
			p := Port{Target: uint16(n), Protocol: firstOf(proto, "tcp")} //nolint:gosec // bounded by to
			if !slices.Contains(exposed, p) {
				exposed = append(exposed, p)
			}
		}
		return nil
	}
	for _, e := range append(slices.Clone(img.ExposedPorts), s.Expose...) {
		if err := add(e); err != nil {
			return nil, nil, err
		}
	}
	return published, exposed, nil
}

// mounts are the service's, then a volume for each VOLUME of the image that nothing else covers.
func mounts(p *project.Project, s types.ServiceConfig, img Image) ([]Mount, error) {
	var all []Mount
	taken := map[string]bool{}
	add := func(m Mount) {
		if m.Target = path.Clean(m.Target); !taken[m.Target] {
			taken[m.Target] = true
			all = append(all, m)
		}
	}
	for i, v := range s.Volumes {
		m, err := mount(p, v)
		if err != nil {
			return nil, At(err, "volumes", strconv.Itoa(i))
		}
		add(m)
	}
	for i, from := range s.VolumesFrom {
		if _, _, err := VolumesFrom(from); err != nil {
			return nil, At(err, "volumes_from", strconv.Itoa(i))
		}
	}
	for _, t := range s.Tmpfs {
		target, options, _ := strings.Cut(t, ":")
		m := volumes.Mount{Type: volumes.TypeTmpfs, Target: target}
		if options != "" {
			m.Options = strings.Split(options, ",")
		}
		add(Mount{Mount: m})
	}
	for _, v := range img.Volumes {
		add(Mount{Mount: volumes.Mount{Type: volumes.TypeVolume, Target: path.Join("/", v)}, Anonymous: true})
	}
	return all, nil
}

func mount(p *project.Project, v types.ServiceVolumeConfig) (Mount, error) {
	m := Mount{Mount: volumes.Mount{Type: volumes.Type(v.Type), Target: v.Target, ReadOnly: v.ReadOnly}}
	if !path.IsAbs(v.Target) {
		return m, fmt.Errorf("the target %q must be an absolute path", v.Target)
	}
	switch m.Type {
	case volumes.TypeVolume:
		m.Anonymous = v.Source == ""
		if !m.Anonymous {
			m.Source = p.Volumes[v.Source].Name
		}
		if o := v.Volume; o != nil {
			m.NoCopy, m.Subpath = o.NoCopy, o.Subpath
		}
	case volumes.TypeBind:
		m.Source = v.Source
		if o := v.Bind; o != nil {
			m.Propagation, m.Recursive, m.CreateHostPath = o.Propagation, o.Recursive, bool(o.CreateHostPath)
		}
	case volumes.TypeTmpfs:
		if o := v.Tmpfs; o != nil {
			m.Size, m.Mode = int64(o.Size), o.Mode
		}
	case volumes.TypeImage:
		m.Source = v.Source
		if v.Image != nil {
			m.Subpath = strings.TrimPrefix(path.Clean("/"+v.Image.SubPath), "/")
		}
	default:
		return m, fmt.Errorf("type %q is not supported: use bind, volume, tmpfs or image", v.Type)
	}
	return m, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
