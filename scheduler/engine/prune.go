package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"tutti/scheduler/container"
	"tutti/volumes"
)

// labelAnonymous marks volumes that nobody has named.
const labelAnonymous = "com.docker.volume.anonymous"

// PruneContainers removes the containers that do not run, but none that a verb which goes on is about to start. filters
// are docker's: until (a time or an age of the creation), label and label!. It returns their ids and how many bytes of
// their own layers went.
func (e *Engine) PruneContainers(ctx context.Context, filters map[string][]string) ([]string, int64, error) {
	until, err := untilFilter(filters, time.Now())
	if err != nil {
		return nil, 0, err
	}
	removed, freed := []string{}, int64(0)
	for _, u := range e.SelectUnits(func(c *container.Config) bool { return Labelled(c.Labels, filters) }) {
		if !until.IsZero() && !u.Config.Created.Before(until) || !e.isLeft(u) {
			continue
		}
		size, err := u.layerSize(ctx)
		if err != nil {
			return removed, freed, err
		}
		err = e.RemoveUnit(ctx, u, false, false)
		if errors.Is(err, ErrConflict) {
			continue // started meanwhile
		}
		if err != nil {
			return removed, freed, fmt.Errorf("container %s: %w", u.Name(), err)
		}
		removed, freed = append(removed, u.ID), freed+size
	}
	return removed, freed, nil
}

// isLeft tells whether a container neither runs nor is to be started by somebody who is at it.
func (e *Engine) isLeft(u *Unit) bool {
	if !u.Stopped() || len(u.waitsFor()) > 0 {
		return false
	}
	return u.Snapshot().Status != container.Created || u.Config.Project == "" || !e.projectLocks.busy(u.Config.Project)
}

// busy tells whether somebody holds the name, or waits for it.
func (k *keyedMutex) busy(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locks[name] != nil
}

// PruneVolumes removes volumes that no container has: those without a name of their own or, with the filter all=true, all
// of them. Further filters: label and label!. It returns their names and how many bytes went.
func (e *Engine) PruneVolumes(ctx context.Context, filters map[string][]string) ([]string, int64, error) {
	all := false
	for _, v := range filters["all"] {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: invalid filter 'all=%s'", ErrInvalid, v)
		}
		all = b
	}
	list, err := e.VolumeStore.List()
	if err != nil {
		return nil, 0, err
	}
	removed, freed := []string{}, int64(0)
	for _, v := range list {
		if _, anonymous := v.Labels[labelAnonymous]; !anonymous && !all || !Labelled(v.Labels, filters) || len(e.volumeUsers(v.Name)) > 0 {
			continue
		}
		size, err := e.VolumeStore.Usage(ctx, v.Name)
		if err == nil {
			err = e.RemoveVolume(v.Name, false)
		}
		if errors.Is(err, ErrConflict) || errors.Is(err, volumes.ErrNotFound) {
			continue
		}
		if err != nil {
			return removed, freed, err
		}
		removed, freed = append(removed, v.Name), freed+size
	}
	return removed, freed, nil
}
