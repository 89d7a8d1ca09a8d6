package scheduler

import (
	"crypto/sha1" //nolint:gosec // docker compose names what it would have built by it
	"fmt"
	"strings"

	"tutti/scheduler/api"
	"tutti/scheduler/imagebuild"
)

// tryBuilds says what a build would do, in the words of docker compose's --dry-run, and does nothing.
func (r *run) tryBuilds(services []string, flags imagebuild.Flags) error {
	var began, built, ended strings.Builder
	for _, n := range services {
		q, err := r.buildRequest(n, flags)
		if err != nil {
			return err
		}
		name, target := r.project.ImageName(n), strings.ReplaceAll(n, ".", "_")
		fmt.Fprintf(&began, "Image %s Building\n", name)
		fmt.Fprintf(&built, "%s ==> ==> writing image dryRun-%x\n%s ==> ==> naming to %s\n", target, sha1.Sum([]byte(target)), target, q.Tags[0])
		fmt.Fprintf(&ended, "Image %s Built\n", name)
	}
	if len(services) > 0 {
		r.emit(api.Event{Kind: api.KindPlan, Text: began.String() + built.String() + ended.String(), Changes: len(services)})
	}
	return nil
}
