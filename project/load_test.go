package project_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tutti/project"
)

const one = "services:\n  web: {image: \"web:${TAG:-none}\"}\n"

// The name comes from -p, then COMPOSE_PROJECT_NAME, then `name:`, then the folder.
func TestProjectName(t *testing.T) {
	for _, c := range []struct {
		name string
		file string
		o    project.Options
		want string
	}{
		{"folder", one, project.Options{}, "my-app"},
		{"file", "name: from-file\n" + one, project.Options{}, "from-file"},
		{"file with variable", "name: from-${WHO}\n" + one, project.Options{Environ: []string{"WHO=env"}}, "from-env"},
		{"empty in file", "name: \"\"\n" + one, project.Options{}, "my-app"},
		{"environment", "name: from-file\n" + one, project.Options{Environ: []string{"COMPOSE_PROJECT_NAME=from-env"}}, "from-env"},
		{"flag", "name: from-file\n" + one, project.Options{Name: "from-flag", Environ: []string{"COMPOSE_PROJECT_NAME=from-env"}}, "from-flag"},
		{"directory", one, project.Options{ProjectDir: "/tmp/Some Dir_1"}, "somedir_1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{"My-App/compose.yaml": c.file})
			c.o.WorkingDir = filepath.Join(dir, "My-App")
			c.o.Files = []string{"compose.yaml"}
			p, err := project.Load(t.Context(), c.o)
			if err != nil {
				t.Fatal(err)
			}
			if p.Name != c.want {
				t.Errorf("name is %s, want %s", p.Name, c.want)
			}
			if name, err := project.Name(c.o); err != nil || name != c.want {
				t.Errorf("Name is %s, %v, want %s", name, err, c.want)
			}
		})
	}
	for _, o := range []project.Options{{Name: "Bad Name"}, {Environ: []string{"COMPOSE_PROJECT_NAME=-x"}}, {ProjectDir: "/"}} {
		o.Files, o.Stdin = []string{"-"}, strings.NewReader(one)
		if p, err := project.Load(t.Context(), o); err == nil {
			t.Errorf("%+v gave the name %q", o, p.Name)
		}
	}
}

// The name is found although the files do not load, or with -p are not even there.
func TestNameOfBrokenProject(t *testing.T) {
	dir := write(t, map[string]string{"compose.yaml": "name: mine\nservices:\n  web: {image: \"${GONE:?}\", unknown: 1}\n"})
	if name, err := project.Name(project.Options{WorkingDir: dir}); name != "mine" || err != nil {
		t.Errorf("name is %q, %v", name, err)
	}
	if name, err := project.Name(project.Options{WorkingDir: t.TempDir(), Name: "given"}); name != "given" || err != nil {
		t.Errorf("name is %q, %v", name, err)
	}
	if name, err := project.Name(project.Options{WorkingDir: t.TempDir()}); err == nil {
		t.Errorf("name is %q without files", name)
	}
}

// Which files and variables are used, from where.
func TestFilesAndEnvironment(t *testing.T) {
	files := map[string]string{
		"compose.yaml":          one,
		"compose.override.yaml": "services:\n  web: {command: over}\n",
		"docker-compose.yml":    "services:\n  old: {image: old}\n",
		".env":                  "TAG=dotenv\n",
		"other.env":             "TAG=other\n",
		"more.env":              "TAG=${TAG}-more\n",
		"deep/er/file.txt":      "",
		"second.yaml":           "services:\n  second: {image: \"s:${TAG}\"}\n",
		"named/.env":            "COMPOSE_FILE=../compose.yaml:../second.yaml\nTAG=named\n",
		"elsewhere/.env":        "TAG=elsewhere\n",
	}
	for _, c := range []struct {
		name   string
		in     string
		o      project.Options
		images string
		cmd    string
	}{
		{"default", "", project.Options{}, "web:dotenv", "over"},
		{"from below", "deep/er", project.Options{}, "web:dotenv", "over"},
		{"one file", "", project.Options{Files: []string{"compose.yaml"}}, "web:dotenv", ""},
		{"two files", "", project.Options{Files: []string{"compose.yaml", "second.yaml"}}, "s:dotenv web:dotenv", ""},
		{"file and stdin", "", project.Options{Files: []string{"compose.yaml", "-"}, Stdin: strings.NewReader("services:\n  in: {image: in}\n")}, "in web:dotenv", ""},
		{"shell wins", "", project.Options{Environ: []string{"TAG=shell"}}, "web:shell", "over"},
		{"env file", "", project.Options{EnvFiles: []string{"other.env"}}, "web:other", "over"},
		{"env files", "", project.Options{EnvFiles: []string{"other.env", "more.env"}}, "web:other-more", "over"},
		{"env files by variable", "", project.Options{Environ: []string{"COMPOSE_ENV_FILES=other.env"}}, "web:other", "over"},
		{"no .env", "", project.Options{Environ: []string{"COMPOSE_DISABLE_ENV_FILE=1"}}, "web:none", "over"},
		{"COMPOSE_FILE", "", project.Options{Environ: []string{"COMPOSE_FILE=second.yaml:compose.yaml"}}, "s:dotenv web:dotenv", ""},
		{"separator", "", project.Options{Environ: []string{"COMPOSE_FILE=second.yaml;compose.yaml", "COMPOSE_PATH_SEPARATOR=;"}}, "s:dotenv web:dotenv", ""},
		{"COMPOSE_FILE in .env", "named", project.Options{}, "s:named web:named", ""},
		{"project directory", "", project.Options{Files: []string{"compose.yaml"}, ProjectDir: "elsewhere"}, "web:elsewhere", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.WorkingDir = filepath.Join(write(t, files), c.in)
			p, err := project.Load(t.Context(), c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.Images(), " "); got != c.images {
				t.Errorf("images are %s, want %s", got, c.images)
			}
			if got := strings.Join(p.Services["web"].Command, " "); got != c.cmd {
				t.Errorf("command is %q, want %q", got, c.cmd)
			}
		})
	}
}

func TestProfilesAndSelection(t *testing.T) {
	const file = `
services:
  web: {image: web, depends_on: [db], networks: [front]}
  db: {image: db, volumes: ["data:/d"]}
  debug: {image: debug, profiles: [debug]}
  test: {image: test, profiles: [test, ci], depends_on: [web]}
networks: {front: {}, unused: {}}
volumes: {data: {}, unused: {}}
`
	for _, c := range []struct {
		name string
		o    project.Options
		want string
	}{
		{"none", project.Options{}, "db web"},
		{"flag", project.Options{Profiles: []string{"debug"}}, "db debug web"},
		{"environment", project.Options{Environ: []string{"COMPOSE_PROFILES=debug, ci"}}, "db debug test web"},
		{"all", project.Options{Profiles: []string{"*"}}, "db debug test web"},
		{"service", project.Options{Services: []string{"db"}}, "db"},
		{"service and dependencies", project.Options{Services: []string{"web"}}, "db web"},
		{"service of a profile", project.Options{Services: []string{"debug"}}, "debug"},
		{"service of a profile with dependencies", project.Options{Services: []string{"test"}}, "db test web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Files, c.o.Stdin, c.o.Name = []string{"-"}, strings.NewReader(file), "x"
			p, err := project.Load(t.Context(), c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.ServiceNames(), " "); got != c.want {
				t.Errorf("services are %s, want %s", got, c.want)
			}
			if _, ok := p.Networks["unused"]; ok {
				t.Error("an unused network is left")
			}
		})
	}
	_, err := project.Load(t.Context(), project.Options{Files: []string{"-"}, Stdin: strings.NewReader(file), Name: "x", Services: []string{"gone"}})
	if err == nil || !strings.Contains(err.Error(), `there is no service "gone" — the services are: db, debug, test, web`) {
		t.Errorf("error is %v", err)
	}
}

func TestGraph(t *testing.T) {
	p := loadText(t, `
services:
  web: {image: web, depends_on: {api: {condition: service_healthy, restart: true}, extra: {condition: service_started, required: false}}}
  api: {image: api, links: ["db:database"], network_mode: "service:net"}
  db: {image: db, volumes_from: ["data:ro", "container:other"]}
  data: {image: data}
  net: {image: net}
  extra: {image: extra, profiles: [extra]}
`)
	g := p.Graph()
	if got := strings.Join(g.Services(), " "); got != "data db net api web" {
		t.Errorf("order is %s", got)
	}
	for service, want := range map[string][]project.Dependency{
		"web": {{Service: "api", Condition: "service_healthy", Required: true, Restart: true}},
		"api": {
			{Service: "db", Condition: "service_started", Required: true, Restart: true},
			{Service: "net", Condition: "service_started", Required: true, Restart: true, Shares: true},
		},
		"db": {{Service: "data", Condition: "service_started", Required: true, Shares: true}},
	} {
		if got := g.Dependencies(service); !reflect.DeepEqual(got, want) {
			t.Errorf("%s depends on %+v, want %+v", service, got, want)
		}
	}
	if got := strings.Join(g.With("db", "net"), " "); got != "data db net" {
		t.Errorf("With is %s", got)
	}
	if got := strings.Join(g.WithDependents("db"), " "); got != "db api web" {
		t.Errorf("WithDependents is %s", got)
	}
	if got := strings.Join(g.Dependents("net"), " "); got != "api" {
		t.Errorf("Dependents is %s", got)
	}
}

func loadText(t *testing.T, text string, environ ...string) *project.Project {
	t.Helper()
	dir := t.TempDir()
	p, err := project.Load(t.Context(), project.Options{
		Files: []string{"-"}, Stdin: strings.NewReader(text), Name: "demo", WorkingDir: dir, ProjectDir: dir, Environ: environ,
	})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return p
}

// v:/data is the volume v on /data, not a path on a Windows drive.
func TestOneLetterVolumes(t *testing.T) {
	p := loadText(t, "services:\n  a: {image: a, volumes: [\"v:/data\", \"w:/ro:ro\", \"x:/nc:nocopy,ro\"]}\nvolumes: {v: , w: , x: }\n")
	var got []string
	for _, v := range p.Services["a"].Volumes {
		got = append(got, v.Type+" "+v.String())
	}
	if want := "volume v:/data:rw|volume w:/ro:ro|volume x:/nc:ro,nocopy"; strings.Join(got, "|") != want {
		t.Errorf("volumes are %s, want %s", strings.Join(got, "|"), want)
	}
}

func TestWarningsNameKeysWithoutEffect(t *testing.T) {
	p := loadText(t, `version: "3"
services:
  web:
    image: "web:x${NOT_SET}"
    cap_add: [NET_ADMIN]
    security_opt: [no-new-privileges, "label=type:x", "label:disable"]
    logging: {driver: fluentd}
    network_mode: host
    deploy:
      mode: global-job
      update_config: {parallelism: 1}
      resources: {limits: {memory: 1g}}
    cpu_count: 2
    platform: linux/s390x
  other: {image: x, profiles: [x], cpu_count: 2}
`)
	got := strings.Join(p.Warnings(), "\n")
	for _, want := range []string{
		`The "NOT_SET" variable is not set`,
		"<stdin>:6: service \"web\": `security_opt: label=type:x` has no effect",
		"<stdin>:7: service \"web\": `logging.driver: fluentd` has no effect: only json-file",
		"<stdin>:10: service \"web\": `deploy.mode: global-job` has no effect",
		"<stdin>:11: service \"web\": `deploy.update_config` has no effect",
		"<stdin>:13: service \"web\": `cpu_count` has no effect",
		"<stdin>:14: service \"web\": `platform: linux/s390x` has no effect",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in\n%s", want, got)
		}
	}
	for _, silent := range []string{"cap_add", "no-new-privileges`", "disable", "limits", "network_mode", "other"} {
		if strings.Contains(got, silent) {
			t.Errorf("there is a warning about %s in\n%s", silent, got)
		}
	}
}

func TestVariables(t *testing.T) {
	vars, err := project.Variables(t.Context(), project.Options{Files: []string{"-"}, Name: "x", Stdin: strings.NewReader(
		"services:\n  a: {image: \"${A:-b}${C:?need}${D}\", command: \"${E:+yes}\"}\n")})
	if err != nil {
		t.Fatal(err)
	}
	want := []project.Variable{{Name: "A", Default: "b"}, {Name: "C", Required: true}, {Name: "D"}, {Name: "E", Present: "yes"}}
	if !reflect.DeepEqual(vars, want) {
		t.Errorf("variables are %+v, want %+v", vars, want)
	}
}
