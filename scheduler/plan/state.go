package plan

import (
	"encoding/json"
	"time"
)

// Condition is a state of a service that another one waits for, spelled as in
// the compose file's depends_on.
type Condition string

// The conditions of depends_on.
const (
	Started   Condition = "service_started"
	Healthy   Condition = "service_healthy"
	Completed Condition = "service_completed_successfully"
)

// Word is the condition as one word for people: started, healthy, completed.
func (c Condition) Word() string {
	switch c {
	case Healthy:
		return "healthy"
	case Completed:
		return "completed"
	case Started:
		return "started"
	}
	return string(c)
}

// Status is what a container is doing.
type Status string

// The states of a container, named as docker names them.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting"
	Exited     Status = "exited"
	Dead       Status = "dead"
)

// Health is the result of a container's health checks; empty without any.
type Health string

// The health of a container with a health check.
const (
	HealthStarting  Health = "starting"
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// Dependency is an edge of depends_on as it was when the container was created.
type Dependency struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition,omitempty"`
	Restart   bool      `json:"restart,omitempty"`
	Required  bool      `json:"required,omitempty"`
}

// Container is one container of the project as it was found.
type Container struct {
	ID      string
	Name    string
	Service string
	Number  int
	// OneOff marks containers of `run`, which up leaves alone.
	OneOff bool
	// Hook marks containers of pre_start hooks, which are OneOff too and there only while
	// the hook runs.
	Hook bool
	// ConfigHash is Project.Hash of the service at the container's creation.
	ConfigHash string
	// Config is Project.Canonical of the service then; optional. With it the plan
	// names the keys that changed.
	Config json.RawMessage
	// Image is the reference that it was created from, ImageID the image's config
	// digest, "sha256:...".
	Image    string
	ImageID  string
	Status   Status
	ExitCode int
	Health   Health
	// Networks and Volumes are the names (not keys) of those it is attached to.
	Networks []string
	Volumes  []string
	// DependsOn is what down and stop order by when no compose file is at hand.
	DependsOn []Dependency
	// Created is when the container was made, Finished when its last run ended.
	Created, Finished time.Time
	// Seq is the number of its last start among all starts of the engine, and Again that of
	// its last start that was a restart by itself: see Followers.
	Seq, Again uint64
}

// DefaultBridge is docker's name for the network of containers with `network_mode: bridge`, of all projects. It is there
// while there are such containers.
const DefaultBridge = "bridge"

// Network is a network that exists.
type Network struct {
	ID   string
	Name string
	// Project and Key are empty for networks that no project made.
	Project string
	Key     string
	// Hash is Project.NetworkHash at its creation, and Config Project.NetworkCanonical; that is optional.
	Hash   string
	Config json.RawMessage
	// Others are the names of containers of other projects, or of none, that are on it.
	Others []string
	// ConfigOnly: it is settings for networks, and no container can be on it.
	ConfigOnly bool
}

// Volume is a named volume that exists.
type Volume struct {
	Name    string
	Project string
	Key     string
	// Hash is Project.VolumeHash at its creation.
	Hash string
}

// State is the snapshot of reality that plans are made from. Containers are those
// of the project; Networks and Volumes are all that the engine has, so that
// external ones and name clashes are seen.
type State struct {
	Containers []Container
	Networks   []Network
	Volumes    []Volume
	// Images has the id of every image that is present, by reference as
	// Project.ImageName returns it.
	Images map[string]string
	// Pulled is when images were pulled last, for pull_policy daily and the like;
	// optional.
	Pulled map[string]time.Time
}
