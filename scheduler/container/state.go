package container

import (
	"fmt"
	"time"

	"github.com/docker/go-units"

	"tutti/netdriver"
	"tutti/scheduler/supervise"
)

// Status is docker's word for how a container is.
type Status string

// The states of a container.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting"
	Removing   Status = "removing"
	Exited     Status = "exited"
	Dead       Status = "dead"
)

// State is how a container is. Disk remembers it, but the kernel knows better: an engine that starts checks Pid.
type State struct {
	Status    Status                  `json:"status"`
	Pid       int                     `json:"pid,omitempty"`
	ExitCode  int                     `json:"exitCode"`
	OOMKilled bool                    `json:"oomKilled,omitempty"`
	Error     string                  `json:"error,omitempty"` // why it could not be started
	Started   time.Time               `json:"started"`
	Finished  time.Time               `json:"finished"`
	Restarts  int                     `json:"restarts,omitempty"`
	Delay     time.Duration           `json:"delay,omitempty"`   // before this run, by the restart policy
	Stopped   bool                    `json:"stopped,omitempty"` // the user stopped it
	Run       int                     `json:"run,omitempty"`     // counts starts: names the process of this run to the keeper
	Health    *supervise.Health       `json:"health,omitempty"`
	Endpoints []Endpoint              `json:"endpoints,omitempty"`
	Bindings  []netdriver.PortBinding `json:"bindings,omitempty"`
	Output    [2]uint64               `json:"output,omitzero"` // inodes of the pipes of stdout and stderr
}

// Endpoint is the container's place on one network while it runs.
type Endpoint struct {
	Network string `json:"network"` // full name
	netdriver.Endpoint
}

// Record is one container as it lies on disk.
type Record struct {
	Config
	State State `json:"state"`
}

// HealthStatus is the health, or "" without a health check.
func (s State) HealthStatus() string {
	if s.Health == nil {
		return ""
	}
	return s.Health.Status
}

// Alive says whether a process runs (or sleeps, frozen).
func (s State) Alive() bool { return s.Status == Running || s.Status == Paused }

// Describe renders the state as `ps` does: "Up 5 seconds (healthy)", "Exited (0) 2 minutes ago".
func (s State) Describe(now time.Time) string {
	ago := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	switch s.Status {
	case Running, Paused:
		up := "Up " + ago(s.Started)
		if s.Status == Paused {
			return up + " (Paused)"
		}
		switch h := s.HealthStatus(); h {
		case "":
			return up
		case supervise.Starting:
			return up + " (health: starting)"
		default:
			return up + " (" + h + ")"
		}
	case Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, ago(s.Finished))
	case Exited:
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, ago(s.Finished))
	case Removing:
		return "Removal In Progress"
	case Dead:
		return "Dead"
	default:
		return "Created"
	}
}
