package server

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
)

// containerFilterKeys are docker's for GET /containers/json.
var containerFilterKeys = []string{
	"ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "label!", "name", "network", "publish", "since", "status", "volume",
}

// listedContainer is what a filter looks at.
type listedContainer struct {
	api.Container
	config *container.Config
}

// containerFilter chooses containers as docker does: values of one key are alternatives, but for label, of which all must be there;
// name and id are patterns that match anywhere.
func (s *server) containerFilter(ctx context.Context, filters map[string][]string) (func(listedContainer) bool, error) {
	for key, known := range map[string][]string{
		"status": {"created", "restarting", "running", "removing", "paused", "exited", "dead"}, "health": {"none", "starting", "healthy", "unhealthy"},
	} {
		for _, v := range filters[key] {
			if !slices.Contains(known, v) {
				return nil, fmt.Errorf("%w filter '%s=%s'", engine.ErrInvalid, key, v)
			}
		}
	}
	for _, v := range filters["exited"] {
		if _, err := strconv.Atoi(v); err != nil {
			return nil, fmt.Errorf("%w filter 'exited=%s'", engine.ErrInvalid, v)
		}
	}
	after, before, err := s.between(filters)
	if err != nil {
		return nil, err
	}
	images := map[string]bool{}
	for _, ref := range filters["ancestor"] {
		if i, err := s.e.Image(ctx, ref); err == nil { // an image that is not there has no containers
			images[i.ID] = true
		}
	}
	published, err := portRanges(filters["publish"])
	if err != nil {
		return nil, err
	}
	exposed, err := portRanges(filters["expose"])
	if err != nil {
		return nil, err
	}
	return func(c listedContainer) bool {
		return is(filters["status"], c.State) && is(filters["health"], healthOf(c)) && matchesExit(filters["exited"], c) &&
			matches(filters["id"], c.ID) && (matches(filters["name"], c.Name) || matches(filters["name"], "/"+c.Name)) && engine.Labelled(c.Labels, filters) &&
			(len(filters["ancestor"]) == 0 || images[c.ImageID]) && onNetwork(filters["network"], c, s.networkID) && hasMount(filters["volume"], c) &&
			(after.IsZero() || c.Created.After(after)) && (before.IsZero() || c.Created.Before(before)) &&
			hasPort(published, c, true) && hasPort(exposed, c, false) && is(filters["is-task"], "false")
	}, nil
}

// between are the limits that since and before set; of several the narrowest.
func (s *server) between(filters map[string][]string) (after, before time.Time, err error) {
	for _, name := range filters["since"] {
		c, _, err := s.e.Inspect(name)
		if err != nil {
			return after, before, err
		}
		if c.Created.After(after) {
			after = c.Created
		}
	}
	for _, name := range filters["before"] {
		c, _, err := s.e.Inspect(name)
		if err != nil {
			return after, before, err
		}
		if before.IsZero() || c.Created.Before(before) {
			before = c.Created
		}
	}
	return after, before, nil
}

func healthOf(c listedContainer) string {
	if c.Health == "" {
		return "none"
	}
	return c.Health
}

// matchesExit: a container that has not run has no exit code.
func matchesExit(codes []string, c listedContainer) bool {
	return len(codes) == 0 || !isActive(c.State) && !c.Started.IsZero() && slices.Contains(codes, strconv.Itoa(c.ExitCode))
}

func (s *server) networkID(name string) string {
	n, err := s.e.Network(name)
	if err != nil {
		return ""
	}
	return n.ID
}

func onNetwork(wanted []string, c listedContainer, id func(string) string) bool {
	if len(wanted) == 0 {
		return true
	}
	for name := range c.Networks {
		if slices.Contains(wanted, name) || slices.Contains(wanted, id(name)) {
			return true
		}
	}
	return false
}

// hasMount looks for the name of a volume, or where something is mounted.
func hasMount(wanted []string, c listedContainer) bool {
	return len(wanted) == 0 || slices.ContainsFunc(c.config.Mounts, func(m container.Mount) bool {
		return slices.Contains(wanted, m.Source) || slices.Contains(wanted, m.Target)
	})
}

// portRange is docker's PORT[-PORT][/PROTOCOL] of a filter.
type portRange struct {
	from, to int
	protocol string
}

func portRanges(list []string) ([]portRange, error) {
	var all []portRange
	for _, text := range list {
		ports, protocol, ok := strings.Cut(text, "/")
		if !ok {
			protocol = "tcp"
		}
		first, last, isRange := strings.Cut(ports, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || to < from {
			return nil, fmt.Errorf("%w port in a filter: %s", engine.ErrInvalid, text)
		}
		all = append(all, portRange{int(from), int(to), protocol})
	}
	return all, nil
}

// hasPort looks for ports of the host, or of the container.
func hasPort(wanted []portRange, c listedContainer, published bool) bool {
	if len(wanted) == 0 {
		return true
	}
	has := func(port int, protocol string) bool {
		return slices.ContainsFunc(wanted, func(r portRange) bool { return port >= r.from && port <= r.to && protocol == r.protocol })
	}
	for _, p := range c.Publishers {
		if published && p.PublishedPort != 0 && has(p.PublishedPort, p.Protocol) || !published && has(p.TargetPort, p.Protocol) {
			return true
		}
	}
	return false
}
