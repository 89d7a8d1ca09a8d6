package project

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

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
	{Path: "services.*.build.isolation", Only: isNot("default"), Reason: "Windows only"},
	{Path: "services.*.build.secrets.[].gid", Reason: "write it into the Dockerfile: RUN --mount=type=secret,gid=..."},
	{Path: "services.*.build.secrets.[].mode", Reason: "write it into the Dockerfile: RUN --mount=type=secret,mode=..."},
	{Path: "services.*.build.secrets.[].uid", Reason: "write it into the Dockerfile: RUN --mount=type=secret,uid=..."},
	{Path: "services.*.cpu_count", Reason: "Windows only, use cpus"},
	{Path: "services.*.cpu_percent", Reason: "Windows only, use cpus"},
	{Path: "services.*.credential_spec", Reason: "Windows only"},
	{Path: "services.*.deploy.endpoint_mode", Reason: "Swarm only"},
	{Path: "services.*.deploy.labels", Reason: "Swarm only, use labels"},
	{Path: "services.*.deploy.mode", Only: isNot("replicated", "global"), Reason: "Swarm only, a service whose containers end is a job"},
	{Path: "services.*.deploy.placement", Reason: "there is one host only"},
	{Path: "services.*.deploy.resources.reservations.cpus", Reason: "Swarm only, use cpu_shares for a share of the processors"},
	{Path: "services.*.deploy.resources.reservations.generic_resources", Reason: notYet},
	{Path: "services.*.deploy.rollback_config", Reason: notYet},
	{Path: "services.*.deploy.update_config", Reason: notYet},
	{Path: "services.*.logging.driver", Only: isNot("json-file", "local", "journald", "syslog", "none"), Reason: "only json-file, local, journald, syslog and none are implemented"},
	{Path: "services.*.logging.options.compress", Only: isTrue, Reason: "rotated files are not compressed"},
	{Path: "services.*.models", Reason: notYet},
	{Path: "services.*.network_mode", Only: isNot("host", "none", "bridge", "service:*", "container:*"), Reason: "only host, none, bridge, service:NAME and container:NAME are implemented"},
	{Path: "services.*.platform", Only: isNot(native...), Reason: "only the platform of this host, linux/" + runtime.GOARCH + ", is implemented"},
	{Path: "services.*.provider", Reason: notYet},
	{Path: "services.*.runtime", Reason: "containers always run on the built-in runtime"},
	{Path: "services.*.security_opt.[]", Only: isLabel, Reason: "containers have no SELinux labels"},
	{Path: "networks.*.ipam.options", Reason: "the drivers default and null have no options"},
	{Path: "volumes.*.driver", Only: isNot("local"), Reason: "only the driver local is implemented"},
	{Path: "configs.*.external", Only: isTrue, Reason: "Swarm only, use file, content or environment"},
	{Path: "configs.*.template_driver", Reason: "Swarm only"},
	{Path: "secrets.*.external", Only: isTrue, Reason: "Swarm only, use file or environment"},
	{Path: "secrets.*.driver", Reason: "Swarm only"},
	{Path: "secrets.*.template_driver", Reason: "Swarm only"},
}

var native = []string{"linux", "linux/" + runtime.GOARCH, "linux/" + runtime.GOARCH + "/*", runtime.GOARCH}

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

// isLabel tells whether an SELinux label is asked for; to ask for none is to get what is wanted.
func isLabel(value any) bool {
	s := strings.Replace(fmt.Sprint(value), ":", "=", 1)
	return strings.HasPrefix(s, "label=") && s != "label=disable"
}

func isTrue(value any) bool { return value == true || value == "true" }

// finding is an attribute of the merged model without effect.
type finding struct {
	path   []string
	value  any
	reason string
}

// findLimitations follows the path of every limitation into the model: cheap, for
// most lead nowhere.
func findLimitations(model map[string]any) []finding {
	var found []finding
	for _, l := range Limitations {
		follow(model, nil, strings.Split(l.Path, "."), func(path []string, value any) {
			if l.Only == nil || l.Only(value) {
				found = append(found, finding{path: slices.Clone(path), value: value, reason: l.Reason})
			}
		})
	}
	slices.SortStableFunc(found, func(a, b finding) int { return slices.Compare(a.path, b.path) })
	return found
}

// follow calls found for every value that a pattern leads to from a value at path.
func follow(value any, path, pattern []string, found func(path []string, value any)) {
	if len(pattern) == 0 {
		found(path, value)
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if pattern[0] == "*" {
			for key, value := range v {
				follow(value, append(path, key), pattern[1:], found)
			}
		} else if value, ok := v[pattern[0]]; ok {
			follow(value, append(path, pattern[0]), pattern[1:], found)
		}
	case []any:
		for i, value := range v {
			if pattern[0] == "[]" {
				follow(value, append(path, strconv.Itoa(i)), pattern[1:], found)
			}
		}
	}
}

// unsupported words the findings about what is in the project.
func (in *input) unsupported(p *types.Project) []string {
	var lines []string
	for _, f := range in.findings {
		section, key := f.path[0], f.path
		e := Error{}
		if len(f.path) > 2 {
			name := f.path[1]
			_, service := p.Services[name]
			_, network := p.Networks[name]
			_, volume := p.Volumes[name]
			if section == "services" && !service || section == "networks" && !network || section == "volumes" && !volume {
				continue
			}
			if section == "services" {
				e.Service, key = name, f.path[2:]
			}
		}
		at := in.positions.find(f.path...)
		e.File, e.Line = at.file, at.line
		name := strings.Join(slices.DeleteFunc(slices.Clone(key), isIndex), ".")
		if text, ok := f.value.(string); ok {
			name += ": " + text
		}
		e.What = fmt.Sprintf("`%s` has no effect: %s", name, f.reason)
		if line := e.Error(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func isIndex(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}
