package project

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/schema"
)

// schemaKeys are the keys that the compose schema knows, by the name of the
// definition that they belong to.
var schemaKeys = sync.OnceValue(func() map[string][]string {
	var doc struct {
		Properties map[string]json.RawMessage
		Defs       map[string]struct {
			Properties map[string]json.RawMessage
		} `json:"$defs"`
	}
	keys := map[string][]string{}
	if json.Unmarshal([]byte(schema.Schema), &doc) != nil {
		return keys
	}
	for key := range doc.Properties {
		keys[""] = append(keys[""], key)
	}
	for def, d := range doc.Defs {
		for key := range d.Properties {
			keys[def] = append(keys[def], key)
		}
	}
	return keys
})

// nearestKey is the known key that a misspelled one at path probably means, or "".
func nearestKey(path, key string) string {
	defs := map[string][]string{"services": {"service", "container_spec", "workload_spec"}, "networks": {"network"}, "volumes": {"volume"}, "secrets": {"secret"}, "configs": {"config"}}
	parts := strings.Split(path, ".")
	var candidates []string
	switch {
	case path == "":
		candidates = schemaKeys()[""]
	case len(parts) == 2:
		for _, def := range defs[parts[0]] {
			candidates = append(candidates, schemaKeys()[def]...)
		}
	default:
		candidates = schemaKeys()[parts[len(parts)-1]]
	}
	best, distance := "", 3
	for _, c := range candidates {
		if d := editDistance(key, c); d < distance || (d == distance && best != "" && c < best) {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is the number of letters to change, add or remove.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
