package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"tutti/scheduler/plan"
)

// Which images `pull` fetches: by the services' policies and by the flags.
func TestPulls(t *testing.T) {
	p := load(t, `
services:
  always: {image: a, pull_policy: always}
  build: {image: b, build: ., pull_policy: build}
  buildable: {image: c, build: .}
  daily: {image: d, pull_policy: daily}
  here: {image: here, pull_policy: if_not_present}
  here2: {image: here, pull_policy: missing}
  named: {build: .}
  never: {image: n, pull_policy: never}
  plain: {image: here}
  same: {image: a}
  there: {image: there, pull_policy: missing}
`)
	present := func(ref string) bool { return ref == "here" }
	for _, c := range []struct {
		o    plan.PullOptions
		want string
	}{
		{plan.PullOptions{}, "a -b() c d -here(Image is already present locally) -here(Image is already present locally) -demo-named(No image to be pulled) -n() here there"},
		{plan.PullOptions{IgnoreBuildable: true}, "a -b() -c(Image can be built) d -here(Image is already present locally) -here(Image is already present locally) -demo-named(No image to be pulled) -n() here there"},
		{plan.PullOptions{Policy: "always"}, "a b c d here -demo-named(No image to be pulled) n there"},
		{plan.PullOptions{Policy: "missing"}, "a b c d -here(Image is already present locally) -here(Image is already present locally) -demo-named(No image to be pulled) n -here(Image is already present locally) there"},
	} {
		var got []string
		for _, choice := range plan.Pulls(p, p.ServiceNames(), c.o, present) {
			if choice.Skipped {
				got = append(got, fmt.Sprintf("-%s(%s)", choice.Image, choice.Reason))
			} else {
				got = append(got, choice.Image)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v:\n%s, want\n%s", c.o, strings.Join(got, " "), c.want)
		}
	}
}
