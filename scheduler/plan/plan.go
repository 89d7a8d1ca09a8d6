// Package plan decides what has to be done to a project's containers, networks,
// volumes and images, and runs such decisions.
//
// It is pure: Diff, DownPlan and the other planners turn a resolved project and
// a snapshot of reality (State) into a Plan, a directed acyclic graph of small
// operations that each carry their cause. They touch nothing. Walk runs a plan by
// calling a function for every operation, as parallel as the graph allows; it
// decides nothing.
package plan

import "time"

// Kind says what an operation does.
type Kind string

// The kinds of operations. Each is one call of the engine on one resource.
const (
	PullImage       Kind = "pull image"       // Resource: image reference
	BuildImage      Kind = "build image"      // Resource: image reference, Service: the service with the build section
	RemoveImage     Kind = "remove image"     // Resource: image reference
	CreateNetwork   Kind = "create network"   // Resource: network name, Key: its key in the project
	RemoveNetwork   Kind = "remove network"   // Resource: network name, ResourceID: its id
	CreateVolume    Kind = "create volume"    // Resource: volume name, Key: its key in the project
	RemoveVolume    Kind = "remove volume"    // Resource: volume name
	CreateContainer Kind = "create container" // Service, Container, Number, Replaces
	PreStart        Kind = "run pre_start"    // Service, Container: whose volumes the hooks have, Number, ContainerID unless it is created by this plan
	StartContainer  Kind = "start container"  // Service, Container, Number, ContainerID unless it is created by this plan
	StopContainer   Kind = "stop container"   // Service, Container, Number, ContainerID, Timeout
	RemoveContainer Kind = "remove container" // Service, Container, Number, ContainerID, Volumes
	AwaitCondition  Kind = "await condition"  // Service: the one that is waited for, For: the one that waits, Condition
	AwaitHealthy    Kind = "await healthy"    // Service; running when it has no health check, exit 0 counts too; with Condition Completed that alone
)

// Waits tells whether operations of this kind only wait for something else to
// happen. They take no slot of Walk's parallelism.
func (k Kind) Waits() bool { return k == AwaitCondition || k == AwaitHealthy }

// Op is one operation of a plan.
type Op struct {
	// ID names the operation within its plan, the same in every run: "create container demo-web-1".
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Cause says in words why the operation is in the plan.
	Cause string `json:"cause"`
	// After lists the ids of the operations that have to succeed before this one begins.
	After []string `json:"after,omitempty"`

	// Service is the name of the service concerned, empty for networks and volumes.
	Service string `json:"service,omitempty"`
	// Container is the container's name and Number its number within the service, from 1.
	Container string `json:"container,omitempty"`
	Number    int    `json:"number,omitempty"`
	// ContainerID is the id of a container that exists already.
	ContainerID string `json:"containerId,omitempty"`
	// Resource is the name of the network, volume or image, and Key its key in the project.
	Resource string `json:"resource,omitempty"`
	Key      string `json:"key,omitempty"`
	// ResourceID is the id of a network that exists already.
	ResourceID string `json:"resourceId,omitempty"`

	// Shared networks may be in use by other projects: then they stay, and that is no
	// failure.
	Shared bool `json:"shared,omitempty"`

	// Replaces is the id of the container whose anonymous volumes a created
	// container takes over. That container is removed earlier in the same plan,
	// with KeepVolumes.
	Replaces string `json:"replaces,omitempty"`
	// KeepVolumes and Volumes say what becomes of a removed container's anonymous
	// volumes: kept for its successor, or removed with it. With neither they stay
	// behind as unused volumes, as docker leaves them.
	KeepVolumes bool `json:"keepVolumes,omitempty"`
	Volumes     bool `json:"volumes,omitempty"`

	// For is the service that waits, Condition what it waits for (AwaitCondition).
	For       string    `json:"for,omitempty"`
	Condition Condition `json:"condition,omitempty"`
	// Optional operations may fail, or not run because something before them
	// failed, without stopping what comes after them: `required: false`.
	Optional bool `json:"optional,omitempty"`

	// Timeout is the grace period of a stop; nil: the container's own.
	Timeout *time.Duration `json:"timeout,omitempty"`
}

// Subject is the name that the operation is about: the container, image, network
// or volume, or for a wait "web: db healthy".
func (o Op) Subject() string {
	switch o.Kind {
	case AwaitCondition:
		return o.For + ": " + o.Service + " " + o.Condition.Word()
	case AwaitHealthy:
		return o.Service
	case CreateContainer, PreStart, StartContainer, StopContainer, RemoveContainer:
		return o.Container
	case PullImage, BuildImage, RemoveImage, CreateNetwork, RemoveNetwork, CreateVolume, RemoveVolume:
		return o.Resource
	}
	return o.Resource
}

// Plan is a directed acyclic graph of operations. Ops are in an order in which
// they could run one after the other: every operation comes after those that it
// names in After.
type Plan struct {
	Project string `json:"project"`
	Ops     []Op   `json:"operations"`
	// Notes are remarks for the user about what was left alone, one line each.
	Notes []string `json:"notes,omitempty"`
	// Replan is set when the plan refreshes images that existing containers use:
	// whether those have to be recreated is known only afterwards. Walk this plan,
	// observe again, and call Diff again with Options.ImagesFresh.
	Replan bool `json:"replan,omitempty"`
}

// Empty tells whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Ops) == 0 }

// StartedAnew lists the names of the containers that the plan ends and starts again, or replaces by others of their name.
func (p *Plan) StartedAnew() []string {
	ends := map[string]bool{}
	for _, op := range p.Ops {
		if op.Kind == StopContainer || op.Kind == RemoveContainer {
			ends[op.Container] = true
		}
	}
	var names []string
	for _, op := range p.Ops {
		if op.Kind == StartContainer && ends[op.Container] {
			names = append(names, op.Container)
		}
	}
	return names
}
