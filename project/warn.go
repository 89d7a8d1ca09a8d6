package project

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
)

// Limitation is an attribute of the compose file without effect.
type Limitation struct {
	// Path is a pattern of keys: * is any name, [] any entry of a list.
	Path string
	// Only limits it to some values; nil: any.
	Only func(value any) bool
	// Reason says why, and what to do instead where there is something.
	Reason string
}

const notYet = "not implemented yet"

// Limitations are the attributes that are accepted and have no effect. Whoever
// implements one takes it out; silence about a key without effect is a fault.
var Limitations = []Limitation{
	{Path: "jobs", Reason: notYet},
	{Path: "models", Reason: notYet},
	{Path: "services.*.annotations", Reason: notYet},
	{Path: "services.*.blkio_config", Reason: notYet},
	{Path: "services.*.cgroup", Reason: notYet},
	{Path: "services.*.cgroup_parent", Reason: notYet},
	{Path: "services.*.cpu_count", Reason: "Windows only, use cpus"},
	{Path: "services.*.cpu_percent", Reason: "Windows only, use cpus"},
	{Path: "services.*.cpu_period", Reason: "not implemented yet, use cpus"},
	{Path: "services.*.cpu_quota", Reason: "not implemented yet, use cpus"},
	{Path: "services.*.cpu_rt_period", Reason: notYet},
	{Path: "services.*.cpu_rt_runtime", Reason: notYet},
	{Path: "services.*.cpu_shares", Reason: notYet},
	{Path: "services.*.cpuset", Reason: notYet},
	{Path: "services.*.credential_spec", Reason: "Windows only"},
	{Path: "services.*.deploy.endpoint_mode", Reason: "Swarm only"},
	{Path: "services.*.deploy.labels", Reason: "Swarm only, use labels"},
	{Path: "services.*.deploy.mode", Only: isNot("replicated"), Reason: "only `replicated` is implemented"},
	{Path: "services.*.deploy.placement", Reason: "there is one host only"},
	{Path: "services.*.deploy.resources.reservations", Reason: notYet},
	{Path: "services.*.deploy.restart_policy", Reason: "not implemented yet, use restart"},
	{Path: "services.*.deploy.rollback_config", Reason: notYet},
	{Path: "services.*.deploy.update_config", Reason: notYet},
	{Path: "services.*.device_cgroup_rules", Reason: notYet},
	{Path: "services.*.external_links", Reason: notYet},
	{Path: "services.*.gpus", Reason: notYet},
	{Path: "services.*.ipc", Only: isNot("host", "private"), Reason: "only `host` and `private` are implemented"},
	{Path: "services.*.isolation", Reason: "Windows only"},
	{Path: "services.*.logging.driver", Only: isNot("json-file", "local", "none"), Reason: "only json-file, local and none are implemented"},
	{Path: "services.*.mem_reservation", Reason: notYet},
	{Path: "services.*.mem_swappiness", Reason: notYet},
	{Path: "services.*.memswap_limit", Reason: notYet},
	{Path: "services.*.models", Reason: notYet},
	{Path: "services.*.network_mode", Only: isNot("host", "none", "bridge", "service:*", "container:*"), Reason: "only host, none, bridge, service:NAME and container:NAME are implemented"},
	{Path: "services.*.networks.*.driver_opts", Reason: notYet},
	{Path: "services.*.networks.*.gw_priority", Reason: notYet},
	{Path: "services.*.networks.*.interface_name", Reason: notYet},
	{Path: "services.*.networks.*.link_local_ips", Reason: notYet},
	{Path: "services.*.oom_kill_disable", Reason: notYet},
	{Path: "services.*.oom_score_adj", Reason: notYet},
	{Path: "services.*.pid", Only: isNot("host"), Reason: "only `host` is implemented"},
	{Path: "services.*.platform", Only: isNot(native...), Reason: "only the platform of this host, linux/" + runtime.GOARCH + ", is implemented"},
	{Path: "services.*.ports.[].protocol", Only: isNot("tcp", "udp"), Reason: "only tcp and udp are implemented"},
	{Path: "services.*.post_start", Reason: notYet},
	{Path: "services.*.pre_start", Reason: notYet},
	{Path: "services.*.pre_stop", Reason: notYet},
	{Path: "services.*.provider", Reason: notYet},
	{Path: "services.*.runtime", Reason: "containers always run on the built-in runtime"},
	{Path: "services.*.security_opt.[]", Only: isNot(securityOptions...), Reason: "only no-new-privileges and seccomp=unconfined are implemented"},
	{Path: "services.*.storage_opt", Reason: notYet},
	{Path: "services.*.umask", Reason: notYet},
	{Path: "services.*.use_api_socket", Reason: notYet},
	{Path: "services.*.userns_mode", Only: isNot("host"), Reason: "only `host` is implemented"},
	{Path: "services.*.uts", Only: isNot("host"), Reason: "only `host` is implemented"},
	{Path: "services.*.volumes.[].type", Only: isNot("bind", "volume", "tmpfs"), Reason: "only bind, volume and tmpfs mounts are implemented"},
	{Path: "services.*.volumes_from", Reason: notYet},
	{Path: "networks.*.driver", Only: isNot("bridge", "default", "host", "none"), Reason: "only the driver bridge is implemented"},
	{Path: "networks.*.enable_ipv4", Only: isFalse, Reason: notYet},
	{Path: "networks.*.ipam.driver", Only: isNot("default"), Reason: "only the driver default is implemented"},
	{Path: "networks.*.ipam.options", Reason: notYet},
	{Path: "volumes.*.driver", Only: isNot("local"), Reason: "only the driver local is implemented"},
	{Path: "configs.*.external", Only: isTrue, Reason: "Swarm only, use file, content or environment"},
	{Path: "configs.*.template_driver", Reason: "Swarm only"},
	{Path: "secrets.*.external", Only: isTrue, Reason: "Swarm only, use file or environment"},
	{Path: "secrets.*.driver", Reason: "Swarm only"},
	{Path: "secrets.*.template_driver", Reason: "Swarm only"},
}

var (
	securityOptions = []string{"no-new-privileges", "no-new-privileges:*", "no-new-privileges=*", "seccomp=unconfined", "seccomp:unconfined"}
	native          = []string{"linux", "linux/" + runtime.GOARCH, "linux/" + runtime.GOARCH + "/*", runtime.GOARCH}
)

// isNot tells whether a value is none of some texts, of which a final * stands for
// anything. An empty value is the default.
func isNot(texts ...string) func(any) bool {
	return func(value any) bool {
		s := fmt.Sprint(value)
		return s != "" && value != nil && !slices.ContainsFunc(texts, func(text string) bool {
			prefix, open := strings.CutSuffix(text, "*")
			return s == text || open && strings.HasPrefix(s, prefix)
		})
	}
}

func isTrue(value any) bool  { return value == true || value == "true" }
func isFalse(value any) bool { return value == false || value == "false" }

// detector lets the loader find what is limited in the merged model.
func detector(report func([]loader.UnsupportedAttribute)) *loader.UnsupportedAttributesCheck {
	c := &loader.UnsupportedAttributesCheck{Report: report}
	for _, l := range Limitations {
		c.Patterns = append(c.Patterns, loader.UnsupportedAttributePattern{Path: tree.Path(l.Path), Detect: l.Only})
	}
	return c
}

// unsupported words the findings about what is in the project, in the order of the files.
func (in *input) unsupported(p *types.Project) []string {
	var lines []string
	for _, f := range in.findings {
		parts := f.Path.Parts()
		service := ""
		switch section, name := parts[0], parts[min(1, len(parts)-1)]; section {
		case "services":
			if _, ok := p.Services[name]; !ok {
				continue
			}
			service = name
			parts = parts[2:]
		case "networks":
			if _, ok := p.Networks[name]; !ok {
				continue
			}
		case "volumes":
			if _, ok := p.Volumes[name]; !ok {
				continue
			}
		}
		at := in.positions.find(f.Path.Parts()...)
		e := Error{File: at.file, Line: at.line, Service: service}
		key := strings.TrimSuffix(strings.ReplaceAll(strings.Join(parts, "."), ".[]", ""), ".")
		if text, ok := f.Value.(string); ok {
			key += ": " + text
		}
		e.What = fmt.Sprintf("`%s` has no effect: %s", key, reasonOf(f.Path, f.Value))
		if line := e.Error(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func reasonOf(path tree.Path, value any) string {
	for _, l := range Limitations {
		if path.Matches(tree.Path(l.Path)) && (l.Only == nil || l.Only(value)) {
			return l.Reason
		}
	}
	return notYet
}
