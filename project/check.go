package project

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/errdefs"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
)

// fault is a finding of the consistency check, to be placed in its file.
type fault struct {
	path []string // of the key at fault, below the service unless top is set
	top  bool
	what string
	fix  string
}

// check finds what the schema cannot: references to things that are not there,
// contradictions and cycles. Rules and their order are those of compose-go's
// loader/validate.go, with names and lines.
func (in *input) check(p *types.Project) error {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		for _, rule := range serviceRules {
			if f := rule(p, &s); f != nil {
				return in.place(name, f)
			}
		}
	}
	if err := in.checkJobs(p); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.Secrets)) {
		secret := p.Secrets[name]
		if !secret.External && secret.File == "" && secret.Environment == "" {
			at := in.positions.find("secrets", name)
			return &Error{File: at.file, Line: at.line, What: fmt.Sprintf("secret %q has no source", name), Fix: "give it `file`, `environment` or `external: true`"}
		}
	}
	if err := in.checkContainerNames(p); err != nil {
		return err
	}
	if _, cycle := newGraph(p.Services); cycle != nil {
		at := in.positions.find("services", cycle[0], "depends_on")
		return &Error{
			File: at.file, Line: at.line, Service: cycle[0],
			What: "services depend on one another in a cycle: " + strings.Join(cycle, " -> "),
			Fix:  "remove one of these dependencies",
			err:  ErrCycle,
		}
	}
	return nil
}

// ErrCycle is wrapped by the error about services that depend on one another.
var ErrCycle = errors.New("dependency cycle")

func (in *input) place(service string, f *fault) error {
	path := f.path
	if !f.top {
		path = append([]string{"services", service}, f.path...)
	}
	at := in.positions.find(path...)
	return &Error{File: at.file, Line: at.line, Service: service, What: f.what, Fix: f.fix, err: errdefs.ErrInvalid}
}

var serviceRules = []func(*types.Project, *types.ServiceConfig) *fault{
	checkSource, checkBuild, checkNetworks, checkNames, checkHealth, checkHealthExtensions, checkDependencies, checkNamespaces,
	checkVolumes, checkFiles, checkHooks, checkRestart, checkScale, checkLimits, checkWatch, checkMounts, checkPorts,
}

func checkSource(_ *types.Project, s *types.ServiceConfig) *fault {
	if s.Build == nil && s.Image == "" && s.Provider == nil {
		return &fault{path: []string{"image"}, what: "it has neither an image nor a build section", fix: "set `image` or `build`"}
	}
	if s.Image != "" {
		if _, err := reference.ParseNormalizedNamed(s.Image); err != nil && !bareID().MatchString(s.Image) {
			return &fault{path: []string{"image"}, what: fmt.Sprintf("%q is no image: %v", s.Image, err), fix: "write [registry/]name[:tag]"}
		}
	}
	if s.Restart != "" && !restartPolicy().MatchString(s.Restart) {
		return &fault{path: []string{"restart"}, what: fmt.Sprintf("%q is no restart policy", s.Restart), fix: `use "no", always, unless-stopped, on-failure or on-failure:N`}
	}
	return nil
}

var (
	restartPolicy = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(no|always|unless-stopped|on-failure(:\d+)?)$`) })
	bareID        = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`) })
)

func checkBuild(p *types.Project, s *types.ServiceConfig) *fault {
	b := s.Build
	if b == nil {
		return nil
	}
	if b.DockerfileInline != "" && b.Dockerfile != "" {
		return &fault{path: []string{"build"}, what: "`dockerfile` and `dockerfile_inline` exclude each other", fix: "remove one of them"}
	}
	for key, value := range b.AdditionalContexts {
		target, ok := strings.CutPrefix(value, types.ServicePrefix)
		if !ok {
			continue
		}
		other, ok := p.AllServices()[target]
		if !ok || other.Build == nil {
			return &fault{
				path: []string{"build", "additional_contexts", key},
				what: fmt.Sprintf("its additional context %q is the service %q, which is not there or has no `build`", key, target),
				fix:  "name a service with a build section",
			}
		}
	}
	if len(b.Platforms) > 0 && s.Platform != "" && !slices.Contains(b.Platforms, s.Platform) {
		return &fault{path: []string{"build", "platforms"}, what: "`build.platforms` lacks its `platform` " + s.Platform, fix: "add it"}
	}
	for _, secret := range b.Secrets {
		if _, ok := p.Secrets[secret.Source]; !ok {
			return undefined("secret", "secrets", secret.Source, "build", "secrets")
		}
	}
	return nil
}

// undefined is the fault of a reference to a top-level element that is not there.
func undefined(what, section, name string, path ...string) *fault {
	return &fault{
		path: append(path, name),
		what: fmt.Sprintf("it uses the %s %q, which is not defined", what, name),
		fix:  fmt.Sprintf("add %q to the top-level `%s`, or correct the name", name, section),
	}
}

func checkNetworks(p *types.Project, s *types.ServiceConfig) *fault {
	if s.NetworkMode != "" && len(s.Networks) > 0 {
		return &fault{path: []string{"network_mode"}, what: "`network_mode` and `networks` exclude each other", fix: "remove one of them"}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		if _, ok := p.Networks[name]; !ok {
			return undefined("network", "networks", name, "networks")
		}
		n := s.Networks[name]
		if n == nil {
			continue
		}
		for key, value := range map[string]string{"ipv4_address": n.Ipv4Address, "ipv6_address": n.Ipv6Address} {
			if value == "" {
				continue
			}
			if ip, err := netip.ParseAddr(value); err != nil || ip.Is4() != (key == "ipv4_address") {
				return &fault{path: []string{"networks", name, key}, what: fmt.Sprintf("%q is no address for %s", value, key), fix: "correct the address"}
			}
		}
	}
	return nil
}

// checkNames checks the addresses of name servers and of names in /etc/hosts.
func checkNames(_ *types.Project, s *types.ServiceConfig) *fault {
	for _, server := range s.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return &fault{path: []string{"dns"}, what: fmt.Sprintf("its name server %q is no address", server), fix: "write an IP address"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.ExtraHosts)) {
		for _, address := range s.ExtraHosts[name] {
			if _, err := netip.ParseAddr(address); err != nil && address != "host-gateway" {
				return &fault{
					path: []string{"extra_hosts"},
					what: fmt.Sprintf("its extra host %q has %q for an address", name, address),
					fix:  "write an IP address, or host-gateway",
				}
			}
		}
	}
	return nil
}

func checkHealth(_ *types.Project, s *types.ServiceConfig) *fault {
	h := s.HealthCheck
	if h == nil || len(h.Test) == 0 || slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, h.Test[0]) {
		return nil
	}
	return &fault{
		path: []string{"healthcheck", "test"},
		what: fmt.Sprintf("its healthcheck's test begins with %q", h.Test[0]),
		fix:  `begin it with "CMD", "CMD-SHELL" or "NONE"`,
	}
}

func checkDependencies(p *types.Project, s *types.ServiceConfig) *fault {
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		if _, ok := p.Services[name]; ok {
			continue
		}
		path := []string{"depends_on", name}
		if disabled, ok := p.DisabledServices[name]; ok {
			if !s.DependsOn[name].Required {
				continue
			}
			return &fault{
				path: path,
				what: fmt.Sprintf("it depends on %q, which none of the active profiles enables", name),
				fix:  fmt.Sprintf("use --profile %s, or say `required: false`", strings.Join(disabled.Profiles, " or ")),
			}
		}
		if _, ok := p.AllJobs()[name]; ok {
			return &fault{path: path, what: fmt.Sprintf("it depends on the job %q", name), fix: "services can depend on services only"}
		}
		return &fault{
			path: path,
			what: fmt.Sprintf("it depends on %q, which is not defined", name),
			fix:  "the services are: " + strings.Join(slices.Sorted(maps.Keys(p.AllServices())), ", "),
		}
	}
	return nil
}

func checkNamespaces(p *types.Project, s *types.ServiceConfig) *fault {
	modes := map[string]string{"network_mode": s.NetworkMode, "ipc": s.Ipc, "pid": s.Pid, "uts": s.Uts}
	for _, key := range slices.Sorted(maps.Keys(modes)) {
		name, ok := strings.CutPrefix(modes[key], types.ServicePrefix)
		if !ok {
			continue
		}
		if _, ok := p.Services[name]; !ok {
			return &fault{path: []string{key}, what: fmt.Sprintf("its %s names the service %q, which is not there", key, name), fix: "correct the name or enable its profile"}
		}
	}
	return nil
}

func checkVolumes(p *types.Project, s *types.ServiceConfig) *fault {
	for i, v := range s.Volumes {
		if v.Type != types.VolumeTypeVolume || v.Source == "" {
			continue
		}
		if _, ok := p.Volumes[v.Source]; !ok {
			f := undefined("volume", "volumes", v.Source, "volumes")
			f.path = []string{"volumes", strconv.Itoa(i)}
			if !strings.ContainsAny(v.Source, "/.") {
				f.fix += ", or write ./" + v.Source + " for a folder"
			}
			return f
		}
	}
	return nil
}

func checkFiles(p *types.Project, s *types.ServiceConfig) *fault {
	for _, c := range s.Configs {
		if _, ok := p.Configs[c.Source]; !ok {
			return undefined("config", "configs", c.Source, "configs")
		}
	}
	for _, c := range s.Secrets {
		if _, ok := p.Secrets[c.Source]; !ok {
			return undefined("secret", "secrets", c.Source, "secrets")
		}
	}
	for name := range s.Models {
		if _, ok := p.Models[name]; !ok {
			return undefined("model", "models", name, "models")
		}
	}
	return nil
}

func checkScale(_ *types.Project, s *types.ServiceConfig) *fault {
	if s.Scale != nil && s.Deploy != nil && s.Deploy.Replicas != nil && *s.Scale != *s.Deploy.Replicas {
		return &fault{path: []string{"scale"}, what: "`scale` and `deploy.replicas` differ", fix: "remove one of them"}
	}
	if s.GetScale() < 0 {
		return &fault{path: []string{"scale"}, what: "a service cannot have fewer than 0 containers", fix: "correct `scale` or `deploy.replicas`"}
	}
	if s.Scale != nil && s.Deploy != nil {
		s.Deploy.Replicas = s.Scale
	}
	if s.GetScale() > 1 && s.ContainerName != "" {
		return &fault{
			path: []string{"container_name"},
			what: fmt.Sprintf("%d containers cannot share the container_name %q", s.GetScale(), s.ContainerName),
			fix:  "remove `container_name` or the scale",
		}
	}
	return nil
}

func checkLimits(_ *types.Project, s *types.ServiceConfig) *fault {
	if s.Deploy == nil {
		return nil
	}
	differ := func(key, other string) *fault {
		return &fault{path: []string{key}, what: fmt.Sprintf("`%s` and `%s` differ", key, other), fix: "remove one of them"}
	}
	if l := s.Deploy.Resources.Limits; l != nil {
		switch {
		case s.CPUS != 0 && l.NanoCPUs.Value() != s.CPUS:
			return differ("cpus", "deploy.resources.limits.cpus")
		case s.MemLimit != 0 && l.MemoryBytes != s.MemLimit:
			return differ("mem_limit", "deploy.resources.limits.memory")
		case s.PidsLimit != 0 && l.Pids != s.PidsLimit:
			return differ("pids_limit", "deploy.resources.limits.pids")
		}
	}
	if r := s.Deploy.Resources.Reservations; r != nil && s.MemReservation != 0 && r.MemoryBytes != s.MemReservation {
		return differ("mem_reservation", "deploy.resources.reservations.memory")
	}
	return nil
}

func checkWatch(_ *types.Project, s *types.ServiceConfig) *fault {
	if s.Develop == nil {
		return nil
	}
	for i, w := range s.Develop.Watch {
		if w.Target == "" && w.Action != types.WatchActionRebuild && w.Action != types.WatchActionRestart {
			return &fault{path: []string{"develop", "watch", strconv.Itoa(i)}, what: fmt.Sprintf("its watch action %q has no target", w.Action), fix: "add `target`"}
		}
	}
	return nil
}

func checkMounts(_ *types.Project, s *types.ServiceConfig) *fault {
	mounts := map[string]bool{}
	twice := func(key string, i int, target string) *fault {
		if mounts[target] {
			return &fault{path: []string{key, strconv.Itoa(i)}, what: fmt.Sprintf("two mounts have the target %s", target), fix: "remove one of them"}
		}
		mounts[target] = true
		return nil
	}
	for i, tmpfs := range s.Tmpfs {
		target, _, _ := strings.Cut(tmpfs, ":")
		if f := twice("tmpfs", i, target); f != nil {
			return f
		}
	}
	for i, v := range s.Volumes {
		if !strings.HasPrefix(v.Target, "/") {
			return &fault{path: []string{"volumes", strconv.Itoa(i)}, what: fmt.Sprintf("its mount target %q is no absolute path", v.Target), fix: "write SOURCE:/path[:ro]"}
		}
		if f := twice("volumes", i, v.Target); f != nil {
			return f
		}
	}
	return nil
}

func (in *input) checkJobs(p *types.Project) error {
	all := p.AllServices()
	for _, name := range slices.Sorted(maps.Keys(p.AllJobs())) {
		at := in.positions.find("jobs", name)
		if _, ok := all[name]; ok {
			return &Error{File: at.file, Line: at.line, What: fmt.Sprintf("%q is both a service and a job", name), Fix: "rename one of them"}
		}
		for dep, d := range p.AllJobs()[name].DependsOn {
			_, job := p.AllJobs()[dep]
			_, enabled := p.Services[dep]
			_, known := all[dep]
			if !job && !enabled && (!known || d.Required) {
				return &Error{File: at.file, Line: at.line, What: fmt.Sprintf("the job %q depends on %q, which is not there", name, dep), Fix: "correct the name or enable its profile"}
			}
		}
	}
	return nil
}

func (in *input) checkContainerNames(p *types.Project) error {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		c := p.Services[name].ContainerName
		if c == "" {
			continue
		}
		if other, taken := owner[c]; taken {
			return in.place(name, &fault{
				path: []string{"container_name"},
				what: fmt.Sprintf("the service %q has the container_name %q too", other, c), fix: "change one of them",
			})
		}
		owner[c] = name
	}
	return nil
}
