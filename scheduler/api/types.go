// Package api is the engine's vocabulary on its unix socket: the project verbs of tutti (up, down, logs ...) as Go types,
// and the client that speaks them. Object verbs (containers, images, networks, volumes) follow the Docker Engine API and
// use its public types. The package holds no engine code, so that the command line can import it alone.
package api

import (
	"encoding/json"
	"time"

	"github.com/moby/buildkit/client"
)

// Prefix precedes the path of every project verb; the Docker Engine API lives beside it, with or without /vX.Y.
const Prefix = "/tutti/v1"

// Labels that every container, network and volume of a project carries: the names docker compose uses, so that tools
// that look for them find ours.
const (
	LabelProject     = "com.docker.compose.project"
	LabelService     = "com.docker.compose.service"
	LabelNumber      = "com.docker.compose.container-number"
	LabelOneOff      = "com.docker.compose.oneoff"
	LabelSlug        = "com.docker.compose.slug"
	LabelConfigHash  = "com.docker.compose.config-hash"
	LabelConfigFiles = "com.docker.compose.project.config_files"
	LabelWorkingDir  = "com.docker.compose.project.working_dir"
	LabelDependsOn   = "com.docker.compose.depends_on"
	LabelImage       = "com.docker.compose.image"
	LabelVolume      = "com.docker.compose.volume"
	LabelNetwork     = "com.docker.compose.network"
)

// UpOptions are the flags of `up` that the engine acts on.
type UpOptions struct {
	Services           []string       `json:"services,omitempty"` // empty: all enabled services
	NoDeps             bool           `json:"noDeps,omitempty"`
	ForceRecreate      bool           `json:"forceRecreate,omitempty"`
	NoRecreate         bool           `json:"noRecreate,omitempty"`
	AlwaysRecreateDeps bool           `json:"alwaysRecreateDeps,omitempty"`
	RenewAnonVolumes   bool           `json:"renewAnonVolumes,omitempty"`
	RemoveOrphans      bool           `json:"removeOrphans,omitempty"`
	Build              bool           `json:"build,omitempty"`   // build images even when they exist
	NoBuild            bool           `json:"noBuild,omitempty"` // never build, a missing image is an error
	NoStart            bool           `json:"noStart,omitempty"`
	Pull               string         `json:"pull,omitempty"`  // "", always, missing, never, build
	Scale              map[string]int `json:"scale,omitempty"` // service → number of containers
	Wait               bool           `json:"wait,omitempty"`
	WaitTimeout        time.Duration  `json:"waitTimeout,omitempty"` // 0: no limit
	Timeout            *int           `json:"timeout,omitempty"`     // seconds to stop a container; nil: its own grace period
	DryRun             bool           `json:"dryRun,omitempty"`
	Parallel           int            `json:"parallel,omitempty"` // 0 or less: no limit
}

// UpRequest asks for POST /up. The model travels as project.Encode wrote it.
type UpRequest struct {
	Project json.RawMessage `json:"project"`
	Options UpOptions       `json:"options"`
	Client  ClientContext   `json:"client"`
}

// ClientContext is what the engine needs from the user's environment to act in the user's name.
type ClientContext struct {
	DockerConfig string `json:"dockerConfig,omitempty"` // folder of the user's docker config.json, for registry credentials
	SSHAuthSock  string `json:"sshAuthSock,omitempty"`
	Dir          string `json:"dir,omitempty"` // the user's working folder, for the few paths of a compose file that docker resolves against it
	// DefaultPlatform is the user's $DOCKER_DEFAULT_PLATFORM, for services that name none.
	DefaultPlatform string `json:"defaultPlatform,omitempty"`
}

// HaltRequest asks for the end of all containers, because the host goes down.
type HaltRequest struct{}

// DownRequest asks for POST /down. Project is empty when there is no compose file at hand: labels say what belongs to Name.
type DownRequest struct {
	Name          string          `json:"name"`
	Project       json.RawMessage `json:"project,omitempty"`
	Services      []string        `json:"services,omitempty"`
	Volumes       bool            `json:"volumes,omitempty"`
	RemoveOrphans bool            `json:"removeOrphans,omitempty"`
	RMI           string          `json:"rmi,omitempty"`     // "", all, local
	Timeout       *int            `json:"timeout,omitempty"` // seconds
	DryRun        bool            `json:"dryRun,omitempty"`
}

// ServicesRequest asks for POST /start, /stop, /restart and /kill of a project's services.
type ServicesRequest struct {
	Name     string          `json:"name"`
	Project  json.RawMessage `json:"project,omitempty"` // for the dependency order; without it the applied model serves
	Services []string        `json:"services,omitempty"`
	Timeout  *int            `json:"timeout,omitempty"` // seconds; stop and restart
	NoDeps   bool            `json:"noDeps,omitempty"`  // restart
	Signal   string          `json:"signal,omitempty"`  // kill
	// RemoveOrphans is kill's: containers of services that are not in the model are killed, too.
	RemoveOrphans bool `json:"removeOrphans,omitempty"`
	Volumes       bool `json:"volumes,omitempty"` // rm: anonymous volumes, too
	Wait          bool `json:"wait,omitempty"`    // start
	DryRun        bool `json:"dryRun,omitempty"`
}

// PullRequest asks for POST /pull.
type PullRequest struct {
	Project         json.RawMessage `json:"project"`
	Services        []string        `json:"services,omitempty"`
	IncludeDeps     bool            `json:"includeDeps,omitempty"`
	IgnoreFailures  bool            `json:"ignoreFailures,omitempty"`
	IgnoreBuildable bool            `json:"ignoreBuildable,omitempty"`
	Policy          string          `json:"policy,omitempty"` // "", missing, always
	Client          ClientContext   `json:"client"`
}

// PushRequest asks for POST /push.
type PushRequest struct {
	Project        json.RawMessage `json:"project"`
	Services       []string        `json:"services,omitempty"`
	IncludeDeps    bool            `json:"includeDeps,omitempty"`
	IgnoreFailures bool            `json:"ignoreFailures,omitempty"`
	Client         ClientContext   `json:"client"`
}

// EventKind says which part of an Event is filled.
type EventKind string

// The kinds of events in the answer to a project verb.
const (
	KindResource EventKind = "resource" // a container, network, volume or image changed its state
	KindWarning  EventKind = "warning"  // Text for the user, once
	KindBuild    EventKind = "build"    // Build holds BuildKit's progress of the image Name
	KindCheck    EventKind = "check"    // Text holds what the checks of the build Name found, Changes how many things
	KindOutput   EventKind = "output"   // Data goes to the user's stdout
	KindBuilt    EventKind = "built"    // a build has ended: Name is the image's ID, Metadata what the exporters say
	KindPlan     EventKind = "plan"     // Text holds the plan (dry run), or Plan does
	KindEnd      EventKind = "end"      // the last event; Error is empty when all went well
)

// Phase says how far a resource is.
type Phase string

// The phases of a resource.
const (
	PhaseWorking Phase = "working"
	PhaseDone    Phase = "done"
	PhaseWarning Phase = "warning"
	PhaseError   Phase = "error"
)

// Event is one line (JSON) of the streamed answer to a project verb.
type Event struct {
	Kind     EventKind           `json:"kind"`
	Resource string              `json:"resource,omitempty"` // Container, Network, Volume, Image
	Name     string              `json:"name,omitempty"`     // demo-web-1, demo_default, nginx
	Status   string              `json:"status,omitempty"`   // docker compose's words: Creating, Created, Starting, Started, Waiting, Healthy, Exited, Pulling, Pulled, Building, Built, Stopping, Stopped, Removing, Removed, Recreate, Recreated, Running, Error, Skipped
	Phase    Phase               `json:"phase,omitempty"`
	Text     string              `json:"text,omitempty"`    // detail, or the message of a warning or plan
	Layer    string              `json:"layer,omitempty"`   // pulls: the layer that Text, Current and Total are about, 12 hex digits
	Current  int64               `json:"current,omitempty"` // bytes done of Total, for pulls
	Total    int64               `json:"total,omitempty"`
	Build    *client.SolveStatus `json:"build,omitempty"`
	Data     []byte              `json:"data,omitempty"`
	Metadata map[string]string   `json:"metadata,omitempty"`
	Plan     *Plan               `json:"plan,omitempty"`
	Error    string              `json:"error,omitempty"`    // KindEnd: what went wrong, ready to be printed
	ExitCode int                 `json:"exitCode,omitempty"` // KindEnd: the exit code the command should end with when Error is set; 0 means 1
	Changes  int                 `json:"changes,omitempty"`  // KindEnd, KindPlan: how many operations there were
}

// Publisher is one published (or only exposed: PublishedPort 0) port, in docker compose's ps --format json shape.
type Publisher struct {
	URL           string
	TargetPort    int
	PublishedPort int
	Protocol      string
}

// Container is one container of a project as `ps` shows it.
type Container struct {
	ID         string            `json:"id"` // 64 hex digits
	Name       string            `json:"name"`
	Project    string            `json:"project"`
	Service    string            `json:"service"`
	Number     int               `json:"number"`
	OneOff     bool              `json:"oneOff,omitempty"`
	Image      string            `json:"image"`   // reference, familiar form
	ImageID    string            `json:"imageID"` // sha256:...
	Command    []string          `json:"command"`
	State      string            `json:"state"`            // created, running, paused, restarting, exited, removing, dead
	Status     string            `json:"status"`           // "Up 5 seconds (healthy)", "Exited (0) 2 minutes ago"
	Health     string            `json:"health,omitempty"` // "", starting, healthy, unhealthy
	ExitCode   int               `json:"exitCode"`
	OOMKilled  bool              `json:"oomKilled,omitempty"`
	Pid        int               `json:"pid,omitempty"`
	Created    time.Time         `json:"created"`
	Started    time.Time         `json:"started"`
	Finished   time.Time         `json:"finished"`
	Restarts   int               `json:"restarts,omitempty"`
	Publishers []Publisher       `json:"publishers,omitempty"`
	Networks   map[string]string `json:"networks,omitempty"` // name → IPv4 address
	Mounts     []string          `json:"mounts,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Orphan     bool              `json:"orphan,omitempty"` // its service is not in the applied model
	Waits      []string          `json:"waits,omitempty"`  // what it waits for before it is started: "db to be healthy (demo-db-1 is starting)"
	TTY        bool              `json:"tty,omitempty"`
	StdinOpen  bool              `json:"stdinOpen,omitempty"`
}

// Project is one line of `ls`.
type Project struct {
	Name        string   `json:"name"`
	Status      string   `json:"status"` // "running(3), exited(1)"
	ConfigFiles []string `json:"configFiles"`
}

// LogOptions choose what GET /projects/{name}/logs sends. Tail < 0 means all.
type LogOptions struct {
	Services []string
	Index    int // only this container number; 0: all
	Tail     int
	Since    time.Time
	Until    time.Time
	Follow   bool
	Events   bool // also send start and exit frames, and with Follow go on over containers that come later
}

// LogFrame is one line (JSON) of a log stream.
type LogFrame struct {
	Event     string    `json:"event,omitempty"` // "" = a log line, start, exit (after the last line of that run), health, removed, hook (a line of a hook), ended (exit of a run that was over when the stream began)
	ID        string    `json:"id"`              // of the container; one that takes its place has its name
	Container string    `json:"container"`       // demo-web-1
	Service   string    `json:"service"`
	Number    int       `json:"number"`
	Stream    string    `json:"stream,omitempty"` // stdout, stderr
	Time      time.Time `json:"time"`             // of the line; exit: when the run ended
	Line      []byte    `json:"line,omitempty"`   // with its newline, if it had one
	ExitCode  int       `json:"exitCode,omitempty"`
	Restart   bool      `json:"restart,omitempty"` // exit: the restart policy will start it again
	Why       string    `json:"why,omitempty"`     // exit: the engine's reason, when it was the engine that ended the run
	Health    string    `json:"health,omitempty"`
}

// VersionInfo answers GET /version beside docker's own fields.
type VersionInfo struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Pid       int    `json:"pid"`
	Root      string `json:"root"`
}
