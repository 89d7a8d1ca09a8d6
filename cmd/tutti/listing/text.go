package listing

import (
	"maps"
	"slices"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/mattn/go-runewidth"
)

// ShortID is the 12 digits by which ids are shown, without the name of the digest's algorithm.
func ShortID(id string) string {
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	return id[:min(len(id), 12)]
}

// Ellipsis cuts s to n cells, the last of which is then "…".
func Ellipsis(s string, n int) string { return runewidth.Truncate(s, n, "…") }

// Ago says how long ago t was, as "5 minutes ago"; an unknown time is "N/A".
func Ago(t, now time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return "N/A"
	}
	return units.HumanDuration(now.Sub(t)) + " ago"
}

// Size says how many bytes n are, as "12.3MB".
func Size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

// Labels joins labels as "a=1,b=2", sorted.
func Labels(l map[string]string) string {
	all := make([]string, 0, len(l))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		all = append(all, k+"="+l[k])
	}
	return strings.Join(all, ",")
}
