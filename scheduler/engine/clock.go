package engine

import "time"

// ranFor is how long a run took. wall is the difference of two readings of the wall clock, which may have been set in
// between, also while there was no engine. age is how long ago the run began by a clock that nobody sets, 0 when that is not
// known: no run is longer, and one is much shorter only if it ended a while ago.
func ranFor(wall, age time.Duration) time.Duration {
	if age > 0 && (wall < 0 || wall > age+time.Second) {
		return age
	}
	return max(wall, 0)
}
