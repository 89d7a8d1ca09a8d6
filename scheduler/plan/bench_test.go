package plan_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutti/project"
	"tutti/scheduler/plan"
)

// The JSON form has what the text has, and reads back as the same plan.
func TestPlanJSON(t *testing.T) {
	timeout := 3 * time.Second
	p := load(t, stack)
	want := diff(t, p, settled(t, p), plan.Options{ForceRecreate: true, Timeout: &timeout, Wait: true})
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got plan.Plan
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("read back\n%s\nwant\n%s", &got, want)
	}
	for _, part := range []string{`"kind":"stop container"`, `"timeout":3000000000`, `"replaces":"id-demo-db-1"`, `"keepVolumes":true`, `"condition":"service_healthy"`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s is not in %s", part, b)
		}
	}
}

func BenchmarkDiff500(b *testing.B) {
	var text strings.Builder
	text.WriteString("services:\n")
	for i := range 500 {
		fmt.Fprintf(&text, "  s%03d: {image: busybox, command: [sleep, infinity]", i)
		if i%5 > 0 {
			fmt.Fprintf(&text, ", depends_on: [s%03d]", i-1)
		}
		text.WriteString("}\n")
	}
	p, err := project.Load(b.Context(), project.Options{Files: []string{"-"}, Stdin: strings.NewReader(text.String()), Name: "x"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := plan.Diff(p, plan.State{}, plan.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
