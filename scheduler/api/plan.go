package api

import "encoding/json"

// PlanRequest asks for POST /plan: what `up` would do. The one event of kind KindPlan in the answer holds a Plan.
type PlanRequest struct {
	Project json.RawMessage `json:"project"` // as project.Encode wrote it
	Options UpOptions       `json:"options"`
	Client  ClientContext   `json:"client"`
	// ShowSecrets sends the values that look like secrets, too.
	ShowSecrets bool `json:"showSecrets,omitempty"`
}

// Action is what `up` would do with something.
type Action string

// The actions. Not all of them are for everything: an image is pulled, built or left as it is.
const (
	ActionCreate    Action = "create"
	ActionRecreate  Action = "recreate"
	ActionStart     Action = "start"
	ActionRestart   Action = "restart"
	ActionStop      Action = "stop"
	ActionRemove    Action = "remove"
	ActionPull      Action = "pull"
	ActionBuild     Action = "build"
	ActionUnchanged Action = "unchanged"
	// ActionUnknown is for a container of which it is known only after an image was pulled or built what becomes of it.
	ActionUnknown Action = "unknown"
)

// Plan is what `up` would do, as `tutti plan --format json` prints it. Fields may be added, but stay as they are.
type Plan struct {
	Project string `json:"project"`
	// Changes is the number of operations; 0: nothing would change.
	Changes  int               `json:"changes"`
	Images   []PlannedImage    `json:"images"`
	Networks []PlannedResource `json:"networks"`
	Volumes  []PlannedResource `json:"volumes"`
	Services []PlannedService  `json:"services"`
	// Order are the operations by when they begin: all of one list may go on at the same time.
	Order [][]PlannedStep `json:"order"`
	Notes []string        `json:"notes"` // for people, one line each
}

// PlannedImage is an image of the services concerned.
type PlannedImage struct {
	Name     string   `json:"name"`
	ID       string   `json:"id,omitempty"` // of the one that is here: sha256:...
	Action   Action   `json:"action"`       // pull, build, unchanged
	Cause    string   `json:"cause,omitempty"`
	Services []string `json:"services,omitempty"` // whose image it is, sorted
}

// PlannedResource is a network or a volume.
type PlannedResource struct {
	Name        string       `json:"name"`
	Key         string       `json:"key"`    // what the compose file calls it
	Action      Action       `json:"action"` // create, recreate, unchanged
	External    bool         `json:"external,omitempty"`
	Cause       string       `json:"cause,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
}

// PlannedService is a service that the plan is about, or that has to change with it.
type PlannedService struct {
	Name string `json:"name"`
	// Orphan: the compose file does not have it.
	Orphan bool `json:"orphan,omitempty"`
	// Before and After are how many containers it has, and would have.
	Before     int                `json:"before"`
	After      int                `json:"after"`
	Containers []PlannedContainer `json:"containers"`
}

// PlannedContainer is one container of a service, there already or to be made.
type PlannedContainer struct {
	Name string `json:"name"`
	// NewName is the name of the one that takes its place, when that is another.
	NewName string `json:"newName,omitempty"`
	Number  int    `json:"number"`
	ID      string `json:"id,omitempty"`     // of the one that is there
	Status  string `json:"status,omitempty"` // of that one: created, running, paused, restarting, exited, dead
	Action  Action `json:"action"`           // create, recreate, start, restart, stop, remove, unchanged, unknown
	// Starts: it runs afterwards because of the plan.
	Starts      bool         `json:"starts,omitempty"`
	Cause       string       `json:"cause,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
}

// Change says how a field differs.
type Change string

// The ways in which a field differs.
const (
	ChangeAdded   Change = "added"
	ChangeRemoved Change = "removed"
	ChangeChanged Change = "changed"
)

// Difference is one field that differs between what is there and what the compose file says.
type Difference struct {
	Field  string `json:"field"` // environment.LOG_LEVEL, ports 80/tcp, image id
	Change Change `json:"change"`
	// Before and After are absent where there is no value, where it is not known, and where it is hidden as a whole.
	Before *string `json:"before,omitempty"`
	After  *string `json:"after,omitempty"`
	// Hidden: values that look like secrets are left out; in part of a text, *** stands for them.
	Hidden bool `json:"hidden,omitempty"`
	// Note says what else is to be said of the values.
	Note string `json:"note,omitempty"`
}

// PlannedStep is one operation.
type PlannedStep struct {
	ID        string   `json:"id"`        // names it within the plan: "create container demo-web-1"
	Operation string   `json:"operation"` // "create container"
	Subject   string   `json:"subject"`   // the container, image, network or volume; for a wait "web: db healthy"
	Service   string   `json:"service,omitempty"`
	Cause     string   `json:"cause,omitempty"`
	After     []string `json:"after,omitempty"` // the ids of those that have to succeed before
}
