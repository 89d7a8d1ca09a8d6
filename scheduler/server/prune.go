package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	apibuild "github.com/moby/moby/api/types/build"
	apicontainer "github.com/moby/moby/api/types/container"
	apivolume "github.com/moby/moby/api/types/volume"

	"tutti/scheduler/api"
	"tutti/scheduler/journal"
)

func (s *server) pruneContainers(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), "until", "label", "label!")
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	removed, freed, err := s.e.PruneContainers(r.Context(), filters)
	reply(w, apicontainer.PruneReport{ContainersDeleted: removed, SpaceReclaimed: uint64(freed)}, err)
}

func (s *server) pruneVolumes(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), "all", "label", "label!")
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	removed, freed, err := s.e.PruneVolumes(r.Context(), filters)
	reply(w, apivolume.PruneReport{VolumesDeleted: removed, SpaceReclaimed: uint64(freed)}, err)
}

func (s *server) pruneBuildCache(w http.ResponseWriter, r *http.Request) {
	what, err := buildCachePrune(r.URL.Query(), time.Now())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	removed, err := s.e.PruneBuildCache(r.Context(), what)
	report := apibuild.CachePruneReport{CachesDeleted: []string{}}
	for _, u := range removed {
		report.CachesDeleted = append(report.CachesDeleted, u.ID)
		if !u.Shared {
			report.SpaceReclaimed += uint64(max(u.Size, 0))
		}
	}
	reply(w, report, err)
}

// cacheFilters are docker's filters of build cache records. Those without a value here only have to be there.
var cacheFilters = map[string]string{
	"id": "~=", "parent": "==", "type": "==", "description": "~=", "inuse": "", "shared": "", "private": "", "mutable": "", "immutable": "",
}

// buildCachePrune reads the parameters of POST /build/prune: all, filters, and the sizes in bytes to which the cache is
// brought down.
func buildCachePrune(q url.Values, now time.Time) (what client.PruneInfo, err error) {
	what.All = q.Get("all") == "1" || q.Get("all") == "true"
	for name, to := range map[string]*int64{
		"keep-storage": &what.ReservedSpace, "reserved-space": &what.ReservedSpace, "max-used-space": &what.MaxUsedSpace, "min-free-space": &what.MinFreeSpace,
	} {
		if text := q.Get(name); text != "" {
			if *to, err = strconv.ParseInt(text, 10, 64); err != nil {
				return what, fmt.Errorf("%s=%q is no number of bytes", name, text)
			}
		}
	}
	known := []string{"until", "unused-for"}
	for name := range cacheFilters {
		known = append(known, name)
	}
	filters, err := journal.ParseFilters(q.Get("filters"), known...)
	if err != nil {
		return what, err
	}
	if what.KeepDuration, err = keepDuration(slices.Concat(filters["until"], filters["unused-for"]), now); err != nil {
		return what, err
	}
	what.Filter, err = recordFilter(filters)
	return what, err
}

// keepDuration is how long a record must not have been used.
func keepDuration(values []string, now time.Time) (time.Duration, error) {
	if len(values) == 0 {
		return 0, nil
	}
	if len(values) > 1 {
		return 0, errors.New("filters expect only one value")
	}
	until, err := api.ParseTime(values[0], now)
	if err != nil {
		return 0, fmt.Errorf("\"until\" filter expects a duration (e.g., '24h') or a timestamp: %w", err)
	}
	return now.Sub(until), nil
}

// recordFilter is the filter in BuildKit's language.
func recordFilter(filters map[string][]string) ([]string, error) {
	var parts []string
	for name, operator := range cacheFilters {
		values := filters[name]
		if len(values) > 1 {
			return nil, errors.New("filters expect only one value")
		}
		field := name
		if name == "parent" {
			field = "parents"
		}
		for _, v := range values {
			if operator == "" {
				parts = append(parts, field)
				continue
			}
			parts = append(parts, field+operator+strconv.Quote(v))
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	slices.Sort(parts)
	return []string{strings.Join(parts, ",")}, nil
}
