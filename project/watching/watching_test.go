package watching_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tutti/project"
	"tutti/project/watching"
)

// room is a folder with files.
func room(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, dir string) *project.Project {
	t.Helper()
	p, err := project.Load(context.Background(), project.Options{WorkingDir: dir, Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func set(t *testing.T, files map[string]string) (string, *watching.Set) {
	t.Helper()
	dir := room(t, files)
	s, err := watching.New(load(t, dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

const rules = `
services:
  web:
    image: busybox
    build: {context: ., dockerfile: Web.Dockerfile}
    develop:
      watch:
        - {action: sync, path: src, target: /app/src, ignore: [node_modules/, "*.log", "!keep.log", "/top"]}
        - {action: sync+restart, path: conf/app.conf, target: /etc/app.conf}
        - {action: rebuild, path: go.mod}
        - {action: sync+exec, path: sql, target: /sql, include: ["**/*.sql"], exec: {command: [load], environment: [A=b]}}
  api:
    image: busybox
    develop:
      watch:
        - {action: restart, path: src/shared}
        - {action: sync, path: src/shared, target: shared/}
`

// What each change asks for.
func TestWorkOfChanges(t *testing.T) {
	t.Parallel()
	dir, s := set(t, map[string]string{"compose.yaml": rules, "Web.Dockerfile": "FROM busybox\n", "Web.Dockerfile.dockerignore": "src/secret\n**/*.tmp\n", ".dockerignore": "src\n"})
	for _, c := range []struct{ changed, want string }{
		{"src/a.js", "web: copy /app/src/a.js"},
		{"src", "web: copy /app/src"},
		{"src/deep/down/a.js", "web: copy /app/src/deep/down/a.js"},
		{"src/node_modules/x/index.js", ""},
		{"src/node_modules", ""},
		{"src/deep/node_modules/x", "web: copy /app/src/deep/node_modules/x"}, // the pattern stands for the folder's own
		{"src/x.log", ""},
		{"src/keep.log", "web: copy /app/src/keep.log"},
		{"src/top/x", ""},
		{"src/secret/key", ""},
		{"src/a.tmp", ""},
		{"src/.git/HEAD", ""},
		{"src/sub/.git/HEAD", ""},
		{"src/.gitignore", "web: copy /app/src/.gitignore"},
		{"src/.a.js.swp", ""},
		{"src/a.js~", ""},
		{"src/4913", ""},
		{"src/#a.js#", ""},
		{"src/.#a.js", ""},
		{"src/.idea/workspace.xml", ""},
		{"src/a.js___jb_tmp___", ""},
		{"src2/a.js", ""},
		{"conf/app.conf", "web: copy /etc/app.conf restart"},
		{"conf/other.conf", ""},
		{"go.mod", "web: rebuild"},
		{"sql/2026/a.sql", "web: copy /sql/2026/a.sql exec load A=b"},
		{"sql/readme", ""},
		{"src/shared/x", "api: copy /shared/x restart; web: copy /app/src/shared/x"},
		{"src/a.js src/b.js go.mod", "web: rebuild copy /app/src/a.js copy /app/src/b.js"},
	} {
		changed := map[string]bool{}
		wanted := false
		for path := range strings.FieldsSeq(c.changed) {
			changed[filepath.Join(dir, path)] = false
			wanted = wanted || s.Wants(filepath.Join(dir, path))
		}
		if got := describe(s.Work(changed)); got != c.want {
			t.Errorf("%s: %q, not %q", c.changed, got, c.want)
		}
		if wanted != (c.want != "") {
			t.Errorf("%s: Wants says %v", c.changed, wanted)
		}
	}
}

func describe(work map[string]*watching.Work) string {
	var all []string
	for _, service := range slices.Sorted(maps.Keys(work)) {
		w := work[service]
		text := service + ":"
		if w.Rebuild {
			text += " rebuild"
		}
		for _, to := range slices.Sorted(maps.Keys(w.Copies)) {
			text += " copy " + to
		}
		if w.Restart {
			text += " restart"
		}
		for _, e := range w.Execs {
			text += " exec " + strings.Join(append(slices.Clone(e.Command), e.Environment...), " ")
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// Folders in which nothing can be wanted are not looked into.
func TestSkippedFolders(t *testing.T) {
	t.Parallel()
	dir, s := set(t, map[string]string{"compose.yaml": `
services:
  web:
    build: .
    develop:
      watch:
        - {action: sync, path: ., target: /app, ignore: [node_modules/, "out/*", "!out/keep", "gen/**", "!**/*.go", dist]}
`, ".dockerignore": "*\n!src\n!other/deep\n"})
	for path, want := range map[string]bool{
		"src": false, "src/node_modules": false, "node_modules": true, "docs": true, "other": false, "other/deep": false, "other/not": true,
		".git": true, "src/.git": true, "src/.idea": true, "src/.github": false,
	} {
		if got := s.Skips(filepath.Join(dir, path)); got != want {
			t.Errorf("%s is skipped: %v, not %v", path, got, want)
		}
	}
}

// A .dockerignore that leaves nothing is for builds without a context.
func TestIgnoreEverything(t *testing.T) {
	t.Parallel()
	dir, s := set(t, map[string]string{"compose.yaml": `
services:
  web: {build: ., develop: {watch: [{action: sync, path: src, target: /app}]}}
`, ".dockerignore": "*\n"})
	if !s.Wants(filepath.Join(dir, "src/a")) {
		t.Error("nothing is watched")
	}
	if want := []string{filepath.Join(dir, ".dockerignore"), filepath.Join(dir, "Dockerfile.dockerignore")}; !slices.Equal(s.Files(), want) {
		t.Errorf("it was read from %v, not %v", s.Files(), want)
	}
}

// What cannot be watched is refused with its line, or said.
func TestBadSections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, section, want string }{
		{"rebuild", "{action: rebuild, path: .}", `compose.yaml:6: service "web": can't watch with action rebuild without a build context`},
		{"exec", "{action: sync+exec, path: ., target: /a}", `compose.yaml:6: service "web": can't watch with action sync+exec without a command`},
		{"root", "{action: sync, path: ., target: /}", "the target of a watch is the root of the container"},
		{"pattern", `{action: sync, path: ., target: /a, ignore: ["[a"]}`, "ignore of its watch: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := room(t, map[string]string{"compose.yaml": "services:\n  web:\n    image: busybox\n    develop:\n      watch:\n        - " + c.section + "\n"})
			_, err := watching.New(load(t, dir), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	dir := room(t, map[string]string{"compose.yaml": "services:\n  web: {image: busybox}\n"})
	if _, err := watching.New(load(t, dir), nil); !errors.Is(err, watching.ErrNothing) {
		t.Errorf("without a section the error is %v", err)
	}
	_, s := set(t, map[string]string{"compose.yaml": `
services:
  web:
    image: busybox
    volumes: [".:/src"]
    develop: {watch: [{action: sync, path: src, target: /app}, {action: restart, path: conf}]}
`})
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "also declared by a bind mount volume, this path won't be monitored!") {
		t.Errorf("the warnings are %q", s.Warnings)
	}
	if roots := s.Roots(); len(roots) != 1 || filepath.Base(roots[0]) != "conf" {
		t.Errorf("the roots are %v", roots)
	}
}

// Work for a service that is being worked on waits, and is done at once afterwards.
func TestQueue(t *testing.T) {
	t.Parallel()
	work := func(rebuild bool, to string, gone bool) *watching.Work {
		return &watching.Work{Rebuild: rebuild, Copies: map[string]watching.Copy{to: {Container: to, Gone: gone}}, Execs: map[string]watching.Exec{}}
	}
	q := watching.NewQueue()
	q.Add(map[string]*watching.Work{"a": work(true, "/1", true), "b": work(true, "/1", false), "c": work(false, "/1", false)})
	first, second := q.Next(), q.Next()
	if got := describe(first) + " | " + describe(second); got != "a: rebuild copy /1; b: rebuild copy /1 | c: copy /1" {
		t.Errorf("the first tasks are %s", got)
	}
	q.Add(map[string]*watching.Work{"a": work(true, "/1", true), "c": work(false, "/2", false)})
	q.Add(map[string]*watching.Work{"a": work(false, "/1", false), "c": work(true, "/3", false)})
	if more := q.Next(); more != nil {
		t.Errorf("%s began although its service is busy", describe(more))
	}
	q.Done(second)
	third := q.Next()
	if got := describe(third); got != "c: rebuild copy /2 copy /3" || q.Busy("b") != true || !q.Busy("") {
		t.Errorf("after c is done, the next task is %s", got)
	}
	q.Done(first)
	fourth := q.Next()
	if got := describe(fourth); got != "a: rebuild copy /1" || !fourth["a"].Copies["/1"].Gone {
		t.Errorf("after a is done, the next task is %s, %v", got, fourth["a"].Copies)
	}
	q.Done(third)
	q.Done(fourth)
	if !q.Idle() {
		t.Error("the queue is not idle")
	}
}

func TestDependents(t *testing.T) {
	t.Parallel()
	p := load(t, room(t, map[string]string{"compose.yaml": `
services:
  db: {image: busybox}
  api: {image: busybox, depends_on: {db: {condition: service_started, restart: true}}}
  web: {image: busybox, depends_on: {api: {condition: service_started, restart: true}}}
  log: {image: busybox, depends_on: [db]}
`}))
	if got := watching.Dependents(p, []string{"db"}); !slices.Equal(got, []string{"api", "web"}) {
		t.Errorf("they are %v", got)
	}
}
