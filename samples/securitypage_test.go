package samples

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	testName     = regexp.MustCompile("`(Test\\w+)`")
)

// Every test that docs/security.md names must exist, and every known escape must have one or say why not.
func TestSecurityPageNamesTests(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunction.FindAllStringSubmatch(string(read(t, path)), -1) {
				tests[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page := string(read(t, securityPage))
	for _, m := range testName.FindAllStringSubmatch(page, -1) {
		if !tests[m[1]] {
			t.Errorf("%s names %s, which does not exist", securityPage, m[1])
		}
	}
	rows := 0
	for line := range strings.Lines(page) {
		columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(columns) != 4 || !strings.HasPrefix(strings.TrimSpace(columns[0]), "20") {
			continue
		}
		rows++
		if !testName.MatchString(columns[2]) && len(strings.TrimSpace(columns[3])) < 40 {
			t.Errorf("no test, and no reason: %s", line)
		}
	}
	if rows < 20 {
		t.Errorf("%d known escapes", rows)
	}
}
