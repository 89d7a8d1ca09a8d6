package main

import (
	"strings"
	"testing"

	"tutti/scheduler/api"
)

// The exit code of plan tells scripts what they want to know, and its flags are those of up.
func TestPlanCommand(t *testing.T) {
	t.Parallel()
	const file = "services: {web: {image: web, environment: {TOKEN: x}}, db: {image: db}}\n"
	changes := api.Plan{Project: "demo", Changes: 1, Notes: []string{"careful"}}
	for _, tc := range []struct {
		args   []string
		answer *api.Plan
		code   int
		out    string // part of stdout
		err    string // part of stderr
	}{
		{[]string{"plan"}, &api.Plan{Project: "demo"}, 0, "Nothing would change", ""},
		{[]string{"plan", "--build", "-V", "--scale", "web=3", "-d", "--quiet-pull", "web"}, &changes, 2, "Note: careful", "a warning"},
		{[]string{"plan", "-q"}, &changes, 2, "", ""},
		{[]string{"plan", "--show-secrets", "--format", "json"}, &changes, 2, `"changes": 1`, "a warning"},
		{[]string{"plan", "--format", "table"}, &changes, 1, "", `format value "table"`},
		{[]string{"plan", "--force-recreate", "--no-recreate"}, &changes, 1, "", "incompatible"},
		{[]string{"plan", "--wait"}, &changes, 1, "", "unknown flag: --wait"},
		{[]string{"plan", "nobody"}, &changes, 1, "", "no such service: nobody"},
		{[]string{"plan", "--scale", "nobody=1"}, &changes, 1, "", "no such service: nobody"},
		{[]string{"plan"}, nil, 1, "", "without a plan"},
	} {
		var got api.PlanRequest
		c := newCLI(t).compose(file).verb("plan", &got, api.Event{Kind: api.KindWarning, Text: "a warning"}, api.Event{Kind: api.KindPlan, Plan: tc.answer})
		r := c.run(tc.args...)
		if r.code != tc.code || !strings.Contains(r.out.String(), tc.out) || !strings.Contains(r.err.String(), tc.err) {
			t.Errorf("%q ends with %d:\n%s%s", tc.args, r.code, r.out.String(), r.err.String())
		}
		if quiet := tc.args[len(tc.args)-1] == "-q"; quiet && r.out.String()+r.err.String() != "" {
			t.Errorf("%q prints %q", tc.args, r.out.String()+r.err.String())
		}
		if tc.args[len(tc.args)-1] == "web" {
			o := got.Options
			if !o.Build || !o.RenewAnonVolumes || o.Scale["web"] != 3 || len(o.Services) != 1 || o.DryRun {
				t.Errorf("asked for is %+v", o)
			}
		}
		if len(tc.args) > 1 && tc.args[1] == "--show-secrets" && !got.ShowSecrets {
			t.Error("secrets are not asked for")
		}
	}
}
