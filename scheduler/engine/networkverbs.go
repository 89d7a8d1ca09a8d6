package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/netdriver"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// networkNames are what docker takes for the name of a network.
var networkNames = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// reservedNetworks are names with a meaning of their own in network_mode.
var reservedNetworks = []string{"host", "none", "default", "bridge"}

// CreateNetwork makes a network outside of any project, as `network create` does. A name that is taken is ErrConflict.
func (e *Engine) CreateNetwork(ctx context.Context, c types.NetworkConfig) (netdriver.Network, error) {
	if !networkNames.MatchString(c.Name) {
		return netdriver.Network{}, fmt.Errorf("%w: %q is no name for a network: use letters, digits, dashes, dots and underscores", ErrInvalid, c.Name)
	}
	if slices.Contains(reservedNetworks, c.Name) {
		return netdriver.Network{}, fmt.Errorf("%w: operation is not permitted on predefined %s network", ErrForbidden, c.Name)
	}
	spec, err := NetworkSpec(c)
	if err != nil {
		return netdriver.Network{}, fmt.Errorf("%w: %w", ErrInvalid, withoutKey(err))
	}
	spec.Labels = c.Labels
	unlock, err := e.networkLocks.lock(ctx, c.Name)
	if err != nil {
		return netdriver.Network{}, err
	}
	defer unlock()
	if _, err := e.NetworkByName(c.Name); err == nil {
		return netdriver.Network{}, fmt.Errorf("%w: network with name %s already exists", ErrConflict, c.Name)
	}
	made, err := e.makeNetwork(ctx, spec)
	if errors.Is(err, netdriver.ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return made, err
}

// withoutKey is the error that says what is wrong with a key, where there is no file to look into.
func withoutKey(err error) error {
	if fault, ok := errors.AsType[*container.Fault](err); ok {
		return fault.Err
	}
	return err
}

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
