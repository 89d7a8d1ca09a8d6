package project

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Changes says by name what is different, whatever is written differently.
func TestModelChanges(t *testing.T) {
	t.Parallel()
	load := func(text string) *Project {
		t.Helper()
		p, err := Load(context.Background(), Options{Files: []string{"-"}, Stdin: strings.NewReader(text), Name: "demo", ProjectDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	last := load("services: {a: {image: x, environment: {B: c}, volumes: ['v:/v'], configs: [c]}, b: {image: x, build: ./b}, gone: {image: x}}\nvolumes: {v: {}}\nconfigs: {c: {content: one}}\n")
	next := load("volumes: {v: {labels: {a: b}}}\nconfigs: {c: {content: two}}\nservices: {a: {environment: [B=c], image: x, configs: [c], volumes: ['v:/v']}, b: {image: x, build: ./c, scale: 2}, new: {image: x}}\n")
	var got []string
	for _, c := range Changes(last, next) {
		got = append(got, fmt.Sprintf("%s %s %v %v %v", c.Kind, c.Name, c.Added, c.Removed, c.Keys))
	}
	want := []string{
		"service a false false [references]", "service b false false [build scale]", "service gone false true []", "service new true false []",
		"volume v false false [labels]", "config c false false [content]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the changes are %q, not %q", got, want)
	}
	if same := Changes(last, last); len(same) > 0 {
		t.Errorf("a model differs from itself in %v", same)
	}
}
