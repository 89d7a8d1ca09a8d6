package container

import (
	"fmt"
	"net/netip"
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
	Healthy   time.Time               `json:"healthy,omitzero"` // when this run was healthy for the first time
	Probes    []supervise.ProbeResult `json:"probes,omitempty"` // the last ones of the run that has ended
	Signal    int                     `json:"signal,omitempty"` // that ended the last run; 0: it ended by itself
	OOM       *OOM                    `json:"oom,omitempty"`
	Lost      bool                    `json:"lost,omitempty"` // nobody saw how the last run ended
	Asked     *Asked                  `json:"asked,omitempty"`
	Before    *Exit                   `json:"before,omitempty"` // how the run before this one ended
	// Hostname and Domainname are those of the container whose network is shared.
	Hostname   string                  `json:"hostname,omitempty"`
	Domainname string                  `json:"domainname,omitempty"`
	Endpoints  []Endpoint              `json:"endpoints,omitempty"` // of this run, or of the last one
	Bindings   []netdriver.PortBinding `json:"bindings,omitempty"`
	Output     [2]uint64               `json:"output,omitzero"` // inodes of the pipes of stdout and stderr

	// Networks are those that it is to be on since somebody has connected or disconnected it; nil: those of its
	// configuration. Changing is set while a running container is brought there.
	Networks []Attachment `json:"networks,omitzero"`
	// Name is what somebody has renamed it to; "": that of its configuration.
	Name     string `json:"name,omitempty"`
	Changing bool   `json:"changing,omitempty"`
	// Updated takes the place of the configuration's limits and restart policy since somebody has changed them; nil: nobody.
	Updated *Updated `json:"updated,omitempty"`

	// Seq is the number of the last start among all starts of the engine, and Again that of the last one that the engine
	// did by itself: who was started before that knows an earlier run (plan.Followers). No clock is as sure.
	Seq   uint64 `json:"seq,omitempty"`
	Again uint64 `json:"again,omitempty"`
	// Ending is set when the engine ends this run in order to start it again, and Why says it in words.
	Ending supervise.Ending `json:"ending,omitempty"`
	Why    string           `json:"why,omitempty"`
	// RestartAt is when a container that is restarting is to be started, Pending how long that was then.
	RestartAt time.Time     `json:"restartAt,omitzero"`
	Pending   time.Duration `json:"pending,omitempty"`
}

// OOM is what is known of a container's memory when the kernel killed one of its processes for want of it, in bytes.
type OOM struct {
	Limit uint64 `json:"limit,omitempty"` // 0: the host's memory was the limit
	Peak  uint64 `json:"peak,omitempty"`  // the most that it ever used; 0: the kernel does not tell
	Kills uint64 `json:"kills,omitempty"` // processes killed
}

// Asked is the last request of a user to end the container, or a signal on a user's behalf.
type Asked struct {
	By     string    `json:"by"`     // the command: stop, down, kill, restart, up ...
	Signal int       `json:"signal"` // the first that was sent
	At     time.Time `json:"at"`
	Forced bool      `json:"forced,omitempty"` // it did not end within its grace period and was killed
}

// Exit is how one run ended.
type Exit struct {
	Code   int           `json:"code"`
	Signal int           `json:"signal,omitempty"`
	At     time.Time     `json:"at"`
	Ran    time.Duration `json:"ran,omitempty"`
	OOM    *OOM          `json:"oom,omitempty"`
	Lost   bool          `json:"lost,omitempty"`
	Asked  *Asked        `json:"asked,omitempty"`
}

// Ended is how the last run ended, nil when there was none.
func (s State) Ended() *Exit {
	if s.Alive() || s.Started.IsZero() || s.Finished.IsZero() {
		return nil
	}
	return &Exit{Code: s.ExitCode, Signal: s.Signal, At: s.Finished, Ran: s.Finished.Sub(s.Started), OOM: s.OOM, Lost: s.Lost, Asked: s.Asked}
}

// RestartLater makes the state that of a container that is to be started again after a while.
func (s *State) RestartLater(after time.Duration) {
	s.Status, s.RestartAt, s.Pending = Restarting, time.Now().UTC().Add(after), after
}

// RestartIn is how much of that while is left. A clock that was set meanwhile cannot make it longer.
func (s *State) RestartIn() time.Duration {
	return min(max(time.Until(s.RestartAt), 0), s.Pending)
}

// Endpoint is the container's place on one network while it runs.
type Endpoint struct {
	Network string `json:"network"` // full name
	netdriver.Endpoint
}

// Addresses are those that the container has there, IPv4 before IPv6; none where somebody else gives them out.
func (e Endpoint) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, a := range []netip.Prefix{e.IPv4, e.IPv6} {
		if a.IsValid() {
			all = append(all, a.Addr())
		}
	}
	return all
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
