package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/plan"
)

// networkNames are what docker takes for the name of a network.
var networkNames = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// reservedNetworks are names with a meaning of their own in network_mode.
var reservedNetworks = []string{"host", "none", "default", "bridge"}

// PruneNetworks removes the networks that no container has, running or not; with a project's name in the labels, too: the
// next `up` makes them again. filters are docker's: until (a time or an age), label and label!. It returns their names.
func (e *Engine) PruneNetworks(ctx context.Context, filters map[string][]string) ([]string, error) {
	var until time.Time
	for _, v := range filters["until"] {
		t, err := api.ParseTime(v, time.Now())
		if err != nil {
			return nil, fmt.Errorf("%w: invalid filter 'until=%s': %w", ErrInvalid, v, err)
		}
		until = t
	}
	removed := []string{}
	for _, n := range e.Networks() {
		if n.Name == plan.DefaultBridge { // docker's is always there; ours goes with the last container and the engine
			continue
		}
		created, _ := time.Parse(time.RFC3339Nano, n.Labels[labelCreated])
		if !until.IsZero() && !created.Before(until) || !Labelled(n.Labels, filters) {
			continue
		}
		err := e.DropNetwork(ctx, n.Name)
		if errors.Is(err, ErrConflict) {
			continue // in use
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, n.Name)
	}
	return removed, nil
}

// Labelled tells whether labels pass docker's filters label and label!, of which each value is NAME or NAME=VALUE.
func Labelled(labels map[string]string, filters map[string][]string) bool {
	has := func(want string) bool {
		name, value, valued := strings.Cut(want, "=")
		have, ok := labels[name]
		return ok && (!valued || have == value)
	}
	for _, want := range filters["label"] {
		if !has(want) {
			return false
		}
	}
	return !slices.ContainsFunc(filters["label!"], has)
}
