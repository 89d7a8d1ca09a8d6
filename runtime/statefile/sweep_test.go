package statefile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Only what a killed writer leaves may go.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := []string{"a.json", ".hidden", "b.json.12", ".c.json.x1", ".f.json.7"}
	for _, name := range []string{"a.json", ".hidden", "b.json.12", ".c.json.x1", ".a.json.1263584352", ".d.json.1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".f.json.7"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Sweep(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	slices.Sort(keep)
	if !slices.Equal(left, keep) {
		t.Errorf("left %q, want %q", left, keep)
	}
}
