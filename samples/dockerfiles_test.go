package samples

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tutti/samples/dockerfiles"
)

// Each Dockerfile of the table is built, and its image does what it has to; `make compare` holds the images against docker's.
func TestDockerfiles(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	stop, err := dockerfiles.Listen(func(listen func() error) error { return s.host.in(s.host.pid, listen) }, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	rows := dockerfiles.Rows()
	services := map[string]any{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i, row := range rows {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			tag := fmt.Sprintf("row:%d", i)
			if r := s.buildRow(t, row, tag, filepath.Join(s.dir, fmt.Sprint(i))); r.code != 0 || row.Code == dockerfiles.Fails {
				if (r.code != 0) != (row.Code == dockerfiles.Fails) {
					t.Errorf("%s: %s", row.Name, r)
				}
				return
			}
			service := map[string]any{"image": tag, "network_mode": "none", "healthcheck": map[string]any{"disable": true}}
			if row.Run != "" {
				service["entrypoint"] = []string{"/bin/sh", "-c", strings.ReplaceAll(row.Run, "$", "$$")}
			}
			mu.Lock()
			defer mu.Unlock()
			services[fmt.Sprintf("r%d", i)] = service
		})
	}
	wg.Wait()
	s.runRows(t, rows, services)
}

func (s *site) buildRow(t *testing.T, row dockerfiles.Row, tag, dir string) result {
	row.Text = strings.ReplaceAll(row.Text, "{{SERVER}}", dockerfiles.Server)
	context, err := row.WriteContext(dir)
	if err != nil {
		t.Error(err)
		return result{}
	}
	args := []string{"image", "build", "-q", "-t", tag}
	args = append(args, row.Arguments(dir)...)
	return s.run(append(args, context)...)
}

// runRows runs all images in one project, and judges what each said.
func (s *site) runRows(t *testing.T, rows []dockerfiles.Row, services map[string]any) {
	text, err := json.Marshal(map[string]any{"name": "rows", "services": services})
	if err != nil {
		t.Fatal(err)
	}
	s.write("rows.json", string(text))
	project := []string{"-f", "rows.json"}
	if r := s.run(append(project, "up")...); r.code != 0 {
		t.Fatal(r)
	}
	codes := map[string]int{}
	for line := range strings.Lines(s.must(append(project, "ps", "-a", "--format", "json")...)) {
		var c struct {
			Service  string
			ExitCode int
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		codes[c.Service] = c.ExitCode
	}
	said := map[string]string{}
	for line := range strings.Lines(s.must(append(project, "logs", "--no-color")...)) {
		name, rest, ok := strings.Cut(line, " | ")
		if !ok {
			t.Fatalf("a line of no service: %q", line)
		}
		name, _, _ = strings.Cut(strings.TrimSpace(name), "-")
		said[name] += rest
	}
	for i, row := range rows {
		name := fmt.Sprintf("r%d", i)
		if _, ok := services[name]; !ok {
			continue
		}
		if strings.TrimSuffix(said[name], "\n") != strings.TrimSuffix(row.Want, "\n") || codes[name] != row.Code {
			t.Errorf("%s: exit code %d, want %d; it printed\n%s\nwant\n%s", row.Name, codes[name], row.Code, said[name], row.Want)
		}
	}
	s.must(append(project, "down", "--volumes")...)
}
