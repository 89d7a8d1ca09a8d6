package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// readFilters reads the filters parameter of the Docker Engine API: {"label":["a=b"]}, or its older form
// {"label":{"a=b":true}}. Keys that are not known are an error.
func readFilters(r *http.Request, known ...string) (map[string][]string, error) {
	filters := map[string][]string{}
	text := r.URL.Query().Get("filters")
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
		var set map[string]bool
		var list []string
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
