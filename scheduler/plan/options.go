package plan

import "time"

// Options are the choices of `up`, `create` and their flags. The zero value is
// `up` of everything with docker compose's defaults.
type Options struct {
	// Services limits the plan to these and, unless NoDeps, what they depend on.
	Services []string
	NoDeps   bool
	// OneOff is the service that a further container is to be made of, by `run`: the plan
	// brings about everything that this one needs, and leaves the service's own alone.
	OneOff string
	// ForceRecreate recreates the containers of the selected services, NoRecreate
	// none, AlwaysRecreateDeps those of their dependencies too.
	ForceRecreate      bool
	NoRecreate         bool
	AlwaysRecreateDeps bool
	// RemoveOrphans removes containers of services that the file no longer has.
	RemoveOrphans bool
	// Scale overrides the number of containers by service.
	Scale map[string]int
	// Build builds every image that can be built, NoBuild none.
	Build   bool
	NoBuild bool
	// Pull overrides every pull_policy: always, missing, never, build or empty.
	Pull string
	// ImagesFresh says that images were pulled and built just now: see Plan.Replan.
	ImagesFresh bool
	// NoStart creates only (`create`, `up --no-start`).
	NoStart bool
	// RenewAnonVolumes gives recreated containers new anonymous volumes.
	RenewAnonVolumes bool
	// Wait adds an operation per service that waits until it is running or healthy.
	Wait bool
	// Now is the time to judge pull_policy daily and the like by.
	Now time.Time
	// Timeout is the grace period of stops; nil: each container's own.
	Timeout *time.Duration
}
