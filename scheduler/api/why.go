package api

import "time"

// Verdict says whether a service or container is as it should be.
type Verdict string

// The verdicts, from the best to the worst.
const (
	VerdictOK      Verdict = "ok"      // it runs and is healthy, or it is a job that has ended well
	VerdictAbsent  Verdict = "absent"  // it was not among the services of the last `up`
	VerdictStopped Verdict = "stopped" // a user has stopped it, or it was created and not started
	VerdictPaused  Verdict = "paused"
	VerdictWaiting Verdict = "waiting" // it is on its way: an image, a dependency, or its own health is waited for
	VerdictFailed  Verdict = "failed"
)

// Why explains the state of a project's services.
type Why struct {
	Project  string       `json:"project"`
	At       time.Time    `json:"at"`
	Last     *Operation   `json:"last,omitempty"` // the last command that started something
	Services []ServiceWhy `json:"services"`
	Notes    []string     `json:"notes,omitempty"` // what happened to the host's firewall
}

// Operation is a command that was carried out.
type Operation struct {
	Verb     string    `json:"verb"` // up, start, restart
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Services []string  `json:"services,omitempty"` // those it was asked for; none: all
	Error    string    `json:"error,omitempty"`    // at most 4 KiB
}

// ServiceWhy explains one service.
type ServiceWhy struct {
	Service      string         `json:"service"`
	Verdict      Verdict        `json:"verdict"`
	Summary      string         `json:"summary"`
	Image        string         `json:"image,omitempty"`
	ImageMissing bool           `json:"imageMissing,omitempty"`
	Failure      *Failure       `json:"failure,omitempty"` // of the last command that failed for it
	Doing        []Doing        `json:"doing,omitempty"`   // what is being done for it right now
	Waits        []Wait         `json:"waits,omitempty"`   // its depends_on, while it does not run
	Ports        []PortHolder   `json:"ports,omitempty"`   // ports of the host that it wants and somebody else has
	Containers   []ContainerWhy `json:"containers,omitempty"`
	Path         []PathStep     `json:"path,omitempty"` // the critical path of its last start
}

// Failure is why a command could not do something for a service.
type Failure struct {
	Verb string    `json:"verb"`
	At   time.Time `json:"at"`
	Text string    `json:"text"` // at most 4 KiB
}

// Doing is something that is going on.
type Doing struct {
	What  string    `json:"what"`
	Since time.Time `json:"since"`
}

// Wait is a condition of depends_on.
type Wait struct {
	Service   string `json:"service"`
	Condition string `json:"condition"` // service_started, service_healthy, service_completed_successfully
	Met       bool   `json:"met"`
	State     string `json:"state"` // how that service is
	Optional  bool   `json:"optional,omitempty"`
}

// PortHolder is who has a port.
type PortHolder struct {
	Port    string `json:"port"`              // 0.0.0.0:80/tcp
	Holder  string `json:"holder"`            // "1658 (python3)", or the container's name
	Project string `json:"project,omitempty"` // of the container
	Service string `json:"service,omitempty"`
}

// ContainerWhy explains one container.
type ContainerWhy struct {
	Name     string   `json:"name"`
	State    string   `json:"state"`  // created, running, paused, restarting, exited
	Status   string   `json:"status"` // as ps shows it
	Health   string   `json:"health,omitempty"`
	Verdict  Verdict  `json:"verdict"`
	Summary  string   `json:"summary"`
	Error    string   `json:"error,omitempty"`    // why it could not be started
	Exit     *Exit    `json:"exit,omitempty"`     // how the last run ended, of one that does not run
	Previous *Exit    `json:"previous,omitempty"` // how the run before this one ended, of one that was started again
	Restart  *Restart `json:"restart,omitempty"`
	OOM      *OOM     `json:"oom,omitempty"` // of the present run: processes of it were killed, it goes on
	Probes   []Probe  `json:"probes,omitempty"`
	Log      []Line   `json:"log,omitempty"` // the last lines
}

// Exit is how a run ended.
type Exit struct {
	Code   int           `json:"code"`             // 0-255; 128+n after signal n
	Signal string        `json:"signal,omitempty"` // SIGKILL; empty when it ended by itself
	At     time.Time     `json:"at"`
	Ran    time.Duration `json:"ran"` // ns
	Cause  string        `json:"cause"`
	OOM    *OOM          `json:"oom,omitempty"`
	Asked  *Asked        `json:"asked,omitempty"`
	Lost   bool          `json:"lost,omitempty"` // nobody saw it
}

// OOM is how much memory a container had when the kernel killed processes of it for want of memory, in bytes.
type OOM struct {
	Limit uint64 `json:"limit,omitempty"` // 0: the host's memory
	Peak  uint64 `json:"peak,omitempty"`
	Kills uint64 `json:"kills,omitempty"`
}

// Asked is who ended a container.
type Asked struct {
	By     string    `json:"by"`     // stop, down, kill, restart, up ...
	Signal string    `json:"signal"` // the first that was sent
	At     time.Time `json:"at"`
	Forced bool      `json:"forced,omitempty"` // it did not end in its grace period
}

// Restart is what the restart policy makes of a container.
type Restart struct {
	Policy string    `json:"policy"`
	Count  int       `json:"count"`         // restarts since it was started by a user
	Max    int       `json:"max,omitempty"` // on-failure: 0 is no bound
	Next   time.Time `json:"next,omitzero"` // the next attempt
	GaveUp bool      `json:"gaveUp,omitempty"`
}

// Probe is one run of the health check.
type Probe struct {
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took"` // ns
	Code   int           `json:"code"` // -1: it took too long or could not run
	Output string        `json:"output"`
}

// Line is a line of a log.
type Line struct {
	At     time.Time `json:"at"`
	Stream string    `json:"stream"`
	Text   string    `json:"text"`
}

// PathStep is one step of a critical path: each began when the one before had ended.
type PathStep struct {
	What  string        `json:"what"`
	After time.Duration `json:"after"` // from the beginning of the path, ns
	Took  time.Duration `json:"took"`  // ns
}
