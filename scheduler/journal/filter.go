package journal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
)

// Filter chooses events as the filters of docker's GET /events do: the values of a key are alternatives, but for label,
// of which all must be there; all keys must match.
type Filter map[string][]string

// filterKeys are the keys that Filter knows. docker has further ones for things that there are none of here.
var filterKeys = []string{"container", "event", "image", "label", "network", "scope", "type", "volume"}

// ParseFilter reads the filters parameter of the Docker Engine API. The empty string is no filter.
func ParseFilter(text string) (Filter, error) {
	f, err := ParseFilters(text, filterKeys...)
	return Filter(f), err
}

// ParseFilters reads such a parameter of any endpoint: {"label":["a=b"]}, or the older form {"label":{"a=b":true}}. A key
// that is not known is an error.
func ParseFilters(text string, known ...string) (map[string][]string, error) {
	filters := map[string][]string{}
	if text == "" {
		return filters, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, fmt.Errorf("invalid filter: %w", err)
	}
	for key, value := range raw {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("invalid filter '%s'", key)
		}
		var list []string
		var set map[string]bool
		if json.Unmarshal(value, &list) != nil {
			if err := json.Unmarshal(value, &set); err != nil {
				return nil, fmt.Errorf("invalid filter '%s': %w", key, err)
			}
		}
		for v, on := range set {
			if on {
				list = append(list, v)
			}
		}
		filters[key] = list
	}
	return filters, nil
}

// Match tells whether the filter lets an event through.
func (f Filter) Match(m events.Message) bool {
	action, _, _ := strings.Cut(string(m.Action), ":") // "health_status: healthy" is also a health_status
	return f.is("type", string(m.Type)) && f.is("scope", m.Scope) &&
		(f.is("event", string(m.Action)) || f.is("event", action)) &&
		f.about("container", m) && f.about("network", m) && f.about("volume", m) && f.image(m) && f.labels(m.Actor.Attributes)
}

func (f Filter) is(key, value string) bool {
	return len(f[key]) == 0 || slices.Contains(f[key], value)
}

// about tells whether an event is about one of the things named, by name or the beginning of the id. As with docker the
// event's own type does not matter.
func (f Filter) about(key string, m events.Message) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], func(v string) bool {
		return strings.HasPrefix(m.Actor.ID, v) || strings.HasPrefix(m.Actor.Attributes["name"], v)
	})
}

func (f Filter) image(m events.Message) bool {
	return len(f["image"]) == 0 || slices.ContainsFunc(f["image"], func(v string) bool {
		image := m.Actor.Attributes["image"]
		if m.Type == events.ImageEventType {
			image = m.Actor.Attributes["name"]
		}
		name, _, _ := strings.Cut(image, ":")
		return v == image || v == name || v == m.Actor.ID
	})
}

func (f Filter) labels(attributes map[string]string) bool {
	for _, l := range f["label"] {
		key, want, exact := strings.Cut(l, "=")
		if got, ok := attributes[key]; !ok || exact && got != want {
			return false
		}
	}
	return true
}
