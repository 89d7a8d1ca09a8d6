package samples

import (
	"os"
	"path/filepath"
	"strings"

	"tutti/scheduler/api"
)

// damagedFiles: a file of an unpacked layer is changed while a container runs from it. The deep check names both, and
// repairs the layer when the container has stopped.
func (s *site) damagedFiles() {
	t := s.t
	t.Helper()
	if report := s.soundness("--deep"); len(report.Findings) > 0 || report.Checked["layers"] == 0 {
		t.Errorf("a deep check before any damage: %+v", report)
	}
	files, err := filepath.Glob(filepath.Join(s.root, "images/snapshots/*/fs/built"))
	if err != nil || len(files) != 1 { // of the image and of the build cache
		t.Fatalf("the file that a build has made: %q, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("BUILT\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.mustBeSound("for a check that is not deep")
	for _, args := range [][]string{{"--deep"}, {"--deep", "--repair"}} {
		report := s.soundness(args...)
		if report.Open() != 1 || !strings.Contains(report.Findings[0].Problem, "/built has another content") || !strings.Contains(report.Findings[0].Hint, "stop sound-web-1") {
			t.Errorf("%v below a container that runs: %+v", args, report)
		}
	}
	s.must("stop", "-t", "0", "web")
	if report := s.soundness("--deep", "--repair"); report.Open() != 0 || len(report.Findings) != 1 || report.Findings[0].State != api.FindingRepaired {
		t.Errorf("repair: %+v", report)
	}
	s.must("start", "web")
	if got := s.must("exec", "web", "cat", "/built"); got != "built\n" {
		t.Errorf("after the repair the container has %q", got)
	}
}
