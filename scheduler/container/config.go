// Package container holds what a container is, as values: what was asked for (Config), how it is (State), and how a
// compose service and an image become a Config and a Config becomes an OCI runtime spec. It touches no kernel.
package container

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/cdi"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
	"tutti/volumes"
)

// Config is everything that was asked for when the container was created. It never changes afterwards: another
// configuration is another container.
type Config struct {
	ID          string            `json:"id"` // 64 hex digits
	Name        string            `json:"name"`
	Project     string            `json:"project,omitempty"`
	Service     string            `json:"service,omitempty"`
	Number      int               `json:"number,omitempty"`
	OneOff      bool              `json:"oneOff,omitempty"`
	Hash        string            `json:"hash,omitempty"`
	Canonical   json.RawMessage   `json:"canonical,omitempty"` // what Hash is made of: tells which keys changed
	DependsOn   []plan.Dependency `json:"dependsOn,omitempty"`
	Image       string            `json:"image"`
	ImageID     string            `json:"imageID"` // sha256:...
	Created     time.Time         `json:"created"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"` // docker's user[:group]
	Groups     []string `json:"groups,omitempty"`
	TTY        bool     `json:"tty,omitempty"`
	StdinOpen  bool     `json:"stdinOpen,omitempty"`
	StdinOnce  bool     `json:"stdinOnce,omitempty"` // the first attached client's end of input is the container's
	AutoRemove bool     `json:"autoRemove,omitempty"`
	Init       bool     `json:"init,omitempty"`
	Hostname   string   `json:"hostname"`
	Domainname string   `json:"domainname,omitempty"`

	Restart    supervise.RestartPolicy `json:"restart"`
	Health     *supervise.HealthCheck  `json:"health,omitempty"`
	StopSignal string                  `json:"stopSignal,omitempty"` // name or number; SIGTERM when empty
	StopGrace  time.Duration           `json:"stopGrace"`
	PreStart   bool                    `json:"preStart,omitempty"` // it is not a container of the service but runs one of its pre_start hooks
	PostStart  []Hook                  `json:"postStart,omitempty"`
	PreStop    []Hook                  `json:"preStop,omitempty"`
	Log        Log                     `json:"log"`

	Security Security `json:"security"`
	Limits
	CgroupParent string              `json:"cgroupParent,omitempty"` // absolute, relative to the engine's own place, or NAME.slice
	Sysctls      map[string]string   `json:"sysctls,omitempty"`
	Rlimits      []specs.POSIXRlimit `json:"rlimits,omitempty"`
	Devices      []Device            `json:"devices,omitempty"`
	Umask        *uint32             `json:"umask,omitempty"` // nil: 0022
	OOMScore     int                 `json:"oomScore,omitempty"`
	Pid          string              `json:"pid,omitempty"` // "", host, container:<id>, service:<name>
	IPC          string              `json:"ipc,omitempty"` // "", host, none, private, shareable, container:<id>, service:<name>
	UTS          string              `json:"uts,omitempty"` // "", host
	Cgroup       string              `json:"cgroup,omitempty"`
	ShmSize      int64               `json:"shmSize,omitempty"` // bytes

	NetworkMode string       `json:"networkMode,omitempty"` // "" = Networks, host, none, container:<id>, service:<name>
	Networks    []Attachment `json:"networks,omitempty"`
	Ports       []Port       `json:"ports,omitempty"`
	Exposed     []Port       `json:"exposed,omitempty"`
	DNS         []string     `json:"dns,omitempty"`
	DNSSearch   []string     `json:"dnsSearch,omitempty"`
	DNSOptions  []string     `json:"dnsOptions,omitempty"`
	ExtraHosts  []string     `json:"extraHosts,omitempty"` // name=address
	Links       []Link       `json:"links,omitempty"`

	DeviceRequests []cdi.Request `json:"deviceRequests,omitempty"` // CDI devices, found at every start

	Mounts []Mount        `json:"mounts,omitempty"`
	Files  []volumes.File `json:"files,omitempty"` // configs and secrets
	// APISocket mounts the engine's socket at /var/run/docker.sock.
	APISocket bool `json:"apiSocket,omitempty"`

	// ConsoleSize is the height and the width of the terminal at the first start, unless a client says otherwise.
	ConsoleSize [2]uint16 `json:"consoleSize,omitzero"`
	Docker      *Docker   `json:"docker,omitempty"` // nil for containers of compose files
}

// Limits are those of the cgroup.
type Limits struct {
	Resources specs.LinuxResources `json:"resources"`      // but BlockIO
	CPUs      float64              `json:"cpus,omitempty"` // as asked for: part of Resources too
	BlockIO   *BlockIO             `json:"blockIO,omitempty"`
}

// Security is what widens or narrows the default confinement.
type Security struct {
	Privileged      bool     `json:"privileged,omitempty"`
	ReadOnly        bool     `json:"readOnly,omitempty"`
	CapAdd          []string `json:"capAdd,omitempty"`
	CapDrop         []string `json:"capDrop,omitempty"`
	NoNewPrivileges bool     `json:"noNewPrivileges,omitempty"`
	Seccomp         string   `json:"seccomp,omitempty"`  // "" = default profile, unconfined, or a profile in docker's format
	AppArmor        string   `json:"appArmor,omitempty"` // "" = default profile where the host has AppArmor, unconfined, or a profile's name
	Unmasked        bool     `json:"unmasked,omitempty"` // nothing of /proc and /sys is masked or read-only
	WritableCgroups bool     `json:"writableCgroups,omitempty"`
	DeviceRules     []string `json:"deviceRules,omitempty"`
	// MaskedPaths and ReadonlyPaths take the place of the default's; nil: those, and empty: none.
	MaskedPaths   []string `json:"maskedPaths,omitzero"`
	ReadonlyPaths []string `json:"readonlyPaths,omitzero"`
}

// Device is a host device made visible in the container.
type Device struct {
	Source      string `json:"source"`
	Target      string `json:"target"`
	Permissions string `json:"permissions"` // of "rwm"
}

// Port is one published (or, without Published, exposed) container port.
type Port struct {
	Target    uint16 `json:"target"`
	Protocol  string `json:"protocol"`
	HostIP    string `json:"hostIP,omitempty"`
	Published string `json:"published,omitempty"` // "", "8080" or "8080-8090"
	Name      string `json:"name,omitempty"`      // for SRV records
	Input     bool   `json:"input,omitempty"`     // the host's INPUT chain governs it
}

// Link makes the containers of a service of the project, or one container by its name, known as Alias to this container alone.
type Link struct {
	Service   string `json:"service,omitempty"`
	Container string `json:"container,omitempty"`
	Alias     string `json:"alias"`
	Network   string `json:"-"` // on this network alone; "" = on all that both have
}

// To tells whether the link of a container of a project leads to another container.
func (l Link) To(c *Config, project string) bool {
	if l.Container != "" {
		return c.Name == l.Container || strings.HasPrefix(c.ID, l.Container) && len(l.Container) >= 12
	}
	return c.Project == project && c.Service == l.Service
}

// Mount is something mounted into the container.
type Mount struct {
	volumes.Mount
	// Anonymous volumes belong to this container, or the one that replaces it, alone.
	Anonymous bool `json:"anonymous,omitempty"`
	// Inherited mounts are another container's, by volumes_from.
	Inherited bool `json:"inherited,omitempty"`
}

// Mounted tells whether the container mounts that volume or image.
func (c *Config) Mounted(kind volumes.Type, source string) bool {
	return slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type == kind && m.Source == source })
}

// Args is the whole argument vector of the container's process.
func (c *Config) Args() []string {
	return append(append([]string{}, c.Entrypoint...), c.Command...)
}

// HostsNames are the names of the container itself in its /etc/hosts, as docker writes them: the whole name, which the host
// name may be or the host name and the domain together, and what is before its first dot.
func (c *Config) HostsNames() string {
	full := c.Hostname
	if c.Domainname != "" {
		full += "." + c.Domainname
	}
	if short, _, more := strings.Cut(full, "."); more {
		return full + " " + short
	}
	return full
}
